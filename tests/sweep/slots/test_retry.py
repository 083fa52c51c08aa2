"""Failed trials get another round of attempts, and stay the trials they were."""

import json

import optuna
import pytest

from tests.sweep.slots.test_table import LEASE_S, failure, leased, optuna_trials, train
from tests.sweep.tiny import run
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.retry import retry
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SlotState, StudyState
from wconv_sweep.study.config import StudyConfig


@pytest.fixture
def slots(storage: Storage, tiny_config: StudyConfig) -> SlotTable:
    """A study with a completed trial 0 and a failed trial 1 that has finished an epoch."""
    studies.create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    slots = SlotTable(storage, tiny_config, lease_s=LEASE_S)
    train(slots, tiny_config, leased(slots), 28.0)
    for number in range(3):
        lease = leased(slots)
        slots.report(lease, 1, 27.0, {"psnr_db": 27.0})
        slots.break_(lease, failure(f"Error{number}"))
    return slots


@pytest.mark.parametrize("trials", [None, [1], [1, 1]])
def test_a_failed_trial_is_open_again_and_ends_as_the_same_trial(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig, trials: list[int] | None
) -> None:
    before = read_status(storage, "tiny")

    (retried,) = retry(storage, "tiny", trials)
    after = read_status(storage, "tiny")
    opened = optuna_trials(storage)[1]
    lease = leased(slots)
    train(slots, tiny_config, lease, 29.0)

    assert (before.ended, after.ended) == (2, 1)
    assert (retried.trial, retried.epoch, retried.reason) == (1, 1, "Error2: no")
    assert (opened.state, opened.datetime_complete) == (optuna.trial.TrialState.RUNNING, None)
    assert "failed" not in opened.user_attrs
    assert (lease.trial, lease.attempt, lease.epoch) == (1, 4, 1)
    ended = optuna_trials(storage)
    assert [trial.number for trial in ended] == [0, 1]
    assert ended[1].state is optuna.trial.TrialState.COMPLETE
    assert ended[1].intermediate_values == {1: 27.0, 2: 29.0}


def test_a_retried_trial_has_all_its_attempts_again_and_may_fail_again(
    slots: SlotTable, storage: Storage
) -> None:
    retry(storage, "tiny", None)

    states = [slots.break_(leased(slots), failure(f"Error{number}")) for number in range(3)]

    assert states == [SlotState.OPEN, SlotState.OPEN, SlotState.FAILED]
    assert optuna_trials(storage)[1].user_attrs["failed"] == "Error2: no"


def test_attempts_before_a_retry_do_not_open_the_circuit_breaker(
    storage: Storage, tiny_config: StudyConfig
) -> None:
    studies.create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    slots = SlotTable(storage, tiny_config, lease_s=LEASE_S)
    for error in ("Error", "Error", "Other"):
        slots.break_(leased(slots), failure(error))

    retry(storage, "tiny", None)
    slots.break_(leased(slots), failure("Error"))

    assert read_status(storage, "tiny").state is StudyState.ACTIVE


def test_a_retry_that_is_repeated_changes_nothing(slots: SlotTable, storage: Storage) -> None:
    retry(storage, "tiny", None)

    assert retry(storage, "tiny", None) == []


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([7], "study tiny: trial 7 does not exist. Trials that failed: 1."),
        ([0], "study tiny: trial 0 did not fail (it is complete). Trials that failed: 1."),
        ([1, 0, 7], "trial 0 did not fail (it is complete); trial 7 does not exist."),
    ],
)
@pytest.mark.slow
def test_trials_that_did_not_fail_are_named_and_nothing_is_changed(
    slots: SlotTable, storage: Storage, trials: list[int], message: str
) -> None:
    with pytest.raises(StudyError) as caught:
        retry(storage, "tiny", trials)

    assert message in str(caught.value)
    assert read_status(storage, "tiny").counts[SlotState.FAILED] == 1


def test_the_command_says_what_it_did_and_how_to_go_on(
    storage: Storage,
    slots: SlotTable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ["--study", "tiny", "--storage", storage.name]

    none = run(monkeypatch, capsys, "retry", *place)
    both = run(monkeypatch, capsys, "retry", "1", "--failed", *place)
    wrong = run(monkeypatch, capsys, "retry", "0", *place)
    first = run(monkeypatch, capsys, "retry", "1", *place)
    again = run(monkeypatch, capsys, "retry", "--failed", "--json", *place)

    assert none == both
    assert none[0] == 2
    assert none[2].startswith("wconv-sweep: retry: takes either the numbers of trials or --failed")
    assert (wrong[0], wrong[2].count("\n")) == (2, 1)
    assert first[0] == 0
    assert first[1].startswith(
        "trial 1, density being chosen: open again, continues after epoch 1; it had failed with "
        "Error2: no\nResume with: wconv-sweep resume --study tiny"
    )
    assert (again[0], json.loads(again[1])) == (0, [])
