"""Pruners stop search trials, never a reference density, and never change their mind."""

from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner
from sqlalchemy import update

from tests.sweep.searching import Searcher, launched, study_of
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.search.pruning import PRUNED_AT, Pruning
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.optuna_client import optuna_client
from wconv_sweep.storage.tables import SLOTS, SlotState
from wconv_sweep.study.config import StudyConfig

PRUNERS: list[dict[str, Any]] = [
    {"name": "median", "startup_trials": 2, "warmup_epochs": 2},
    {"name": "asha", "min_epochs": 2, "reduction_factor": 2},
    {"name": "hyperband", "min_epochs": 2, "reduction_factor": 2},
    {"name": "wilcoxon", "p_threshold": 0.1, "startup_epochs": 4},
]
EPOCHS = 6


class PrunesAll(BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


class PrunesNone(BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return False


def config_of(pruner: dict[str, Any], **more: Any) -> StudyConfig:
    """Return a study of 14 trials."""
    options: dict[str, Any] = {"trials": 14, "epochs": EPOCHS, "bounds": [[0.5, 1.5]]} | more
    return study_of({"name": "random"}, pruner=pruner, **options)


def distance(density: tuple[float, ...], epoch: int) -> float:
    """Return curves that never cross: the farther from 1, the lower."""
    return epoch - 10 * abs(density[0] - 1.0)


def optuna_trials(storage: Storage) -> list[optuna.trial.FrozenTrial]:
    client = optuna_client(storage)
    trials = client.get_all_trials(client.get_study_id_from_name("tiny"))
    client.remove_session()
    client.engine.dispose()
    return trials


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: str(pruner["name"]))
@pytest.mark.slow
def test_every_pruner_stops_bad_trials_early_and_ends_their_slots(
    storage: Storage, pruner: dict[str, Any]
) -> None:
    launched(storage, config_of(pruner)).work(distance)

    status = read_status(storage, "tiny")
    trials = optuna_trials(storage)
    pruned = [row for row in status.trials if row.state is SlotState.PRUNED]
    complete = [row for row in status.trials if row.state is SlotState.COMPLETE]
    assert status.complete
    assert status.ended == len(pruned) + len(complete) == 14
    assert len(pruned) >= 3
    assert all(2 <= row.epoch < EPOCHS for row in pruned)
    assert all(row.epoch == EPOCHS for row in complete)
    assert max(row.value or 0 for row in complete) > max(row.value or 0 for row in pruned)
    for row in pruned:
        trial = trials[row.trial or 0]
        assert trial.state is optuna.trial.TrialState.PRUNED
        assert trial.value == row.value == trial.intermediate_values[row.epoch]
        assert max(trial.intermediate_values) == trial.system_attrs[PRUNED_AT] == row.epoch


@pytest.mark.slow
@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: str(pruner["name"]))
def test_decisions_do_not_depend_on_which_agent_makes_them(
    sqlite_storage: Storage, pruner: dict[str, Any]
) -> None:
    agent = launched(sqlite_storage, config_of(pruner))

    for lease in agent.leases():
        density = agent.density_of(lease)
        for epoch in range(1, EPOCHS + 1):
            value = distance(density, epoch)
            # An agent that knows what the storage holds and nothing else.
            newcomer = Searcher(sqlite_storage, agent.config).pruning.decide(lease, epoch, value)
            assert newcomer == agent.pruning.decide(lease, epoch, value)
            if agent.report(lease, epoch, value):
                agent.slots.prune(lease)
                break
        else:
            agent.slots.complete(lease, {}, {})

    assert read_status(sqlite_storage, "tiny").counts[SlotState.PRUNED] >= 3


def test_no_pruner_is_asked_for_the_plain_baseline_or_another_reference_density(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesAll())

    launched(
        sqlite_storage, config_of(PRUNERS[0], trials=5, reference_densities={"paper": [0.8]})
    ).work(distance)

    states = [
        (row.label, row.state, row.epoch) for row in read_status(sqlite_storage, "tiny").trials
    ]
    assert states[:2] == [("plain", "complete", EPOCHS), ("paper", "complete", EPOCHS)]
    assert states[2:] == [(None, "pruned", 1)] * 3


def test_points_of_a_grid_may_be_pruned(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesAll())
    config = study_of(
        {"name": "grid", "points": [3]},
        pruner=PRUNERS[0],
        epochs=EPOCHS,
        bounds=[[0.5, 1.5]],
        trials=3,
    )

    launched(sqlite_storage, config).work(distance)

    states = [row.state for row in read_status(sqlite_storage, "tiny").trials]
    assert states == ["complete", "pruned", "pruned"]


def test_a_trial_that_has_trained_to_its_end_is_complete(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = launched(sqlite_storage, config_of(PRUNERS[0], trials=2))
    agent.train(agent.lease(), distance)
    lease = agent.lease()
    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesNone())
    for epoch in range(1, EPOCHS):
        agent.report(lease, epoch, 0.0)

    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesAll())
    decision = agent.pruning.decide(lease, EPOCHS, 0.0)

    assert not decision.prune


def _second_trial_at_epoch_2(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, pruner: BasePruner
) -> tuple[Searcher, Lease]:
    """Decide on epoch 2 of a search trial whose agent dies before the ranks hear of it."""
    agent = launched(storage, config_of(PRUNERS[1], trials=3))
    agent.train(agent.lease(), distance)
    lease = agent.lease()
    density = agent.density_of(lease)
    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesNone())
    agent.report(lease, 1, distance(density, 1))
    monkeypatch.setattr(Pruning, "_pruner", lambda _: pruner)
    agent.report(lease, 2, distance(density, 2))
    with storage.write() as connection:
        connection.execute(
            update(SLOTS).where(SLOTS.c.state == SlotState.LEASED).values(lease_until=1.0)
        )
    heir = Searcher(storage, agent.config, owner="node/pilot-1/2")
    return heir, heir.lease()


def test_an_agent_that_dies_between_deciding_and_obeying_leaves_its_decision(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    heir, lease = _second_trial_at_epoch_2(storage, monkeypatch, PrunesAll())

    # The pruner thinks otherwise by now, but the decision was made.
    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesNone())
    repeated = heir.pruning.decide(lease, 2, 0.0)

    assert (lease.attempt, lease.epoch) == (2, 2)
    assert repeated.prune
    assert repeated.attributes == {}


def test_a_trial_that_was_let_go_on_is_not_pruned_for_the_same_epoch_later(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    heir, lease = _second_trial_at_epoch_2(storage, monkeypatch, PrunesNone())

    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesAll())

    assert not heir.pruning.decide(lease, 2, 0.0).prune
    assert heir.pruning.decide(lease, 3, 0.0).prune


def test_successive_halving_judges_a_rung_once_however_often_it_is_repeated(
    sqlite_storage: Storage,
) -> None:
    agent = launched(sqlite_storage, config_of(PRUNERS[1], trials=6))
    agent.train(agent.lease(), distance)
    for value in (9.0, 8.0, 7.0):
        lease = agent.lease()
        agent.density_of(lease)
        agent.report(lease, 1, value)
        pruned = agent.report(lease, 2, value)
        agent.slots.interrupt(lease, "killed before the ranks heard of it")
        again = agent.lease()
        assert again.trial == lease.trial
        assert agent.pruning.decide(again, 2, value).prune == pruned
        assert agent.pruning.decide(again, 1, value).prune == pruned
        agent.slots.prune(again)
        assert pruned == (value < 9.0)


def test_a_report_that_was_not_recorded_is_decided_anew(sqlite_storage: Storage) -> None:
    agent = launched(sqlite_storage, config_of(PRUNERS[1], trials=6))
    agent.train(agent.lease(), distance)
    lease = agent.lease()
    agent.density_of(lease)
    agent.report(lease, 1, 9.0)

    first = agent.pruning.decide(lease, 2, 9.0)
    again = agent.pruning.decide(lease, 2, 9.0)

    assert first == again
    assert first.attributes == {"completed_rung_0": 9.0}


def test_a_trial_that_failed_and_was_brought_back_is_pruned_like_any_other(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = launched(sqlite_storage, config_of(PRUNERS[0], trials=3))
    agent.train(agent.lease(), distance)
    lease = agent.lease()
    agent.density_of(lease)
    with sqlite_storage.write() as connection:
        connection.execute(
            update(SLOTS).where(SLOTS.c.slot == lease.slot).values(state=SlotState.FAILED)
        )
    agent.mirror.refresh()
    with sqlite_storage.write() as connection:
        connection.execute(
            update(SLOTS).where(SLOTS.c.slot == lease.slot).values(state=SlotState.OPEN)
        )
    again = agent.lease()

    monkeypatch.setattr(Pruning, "_pruner", lambda _: PrunesAll())

    assert again.trial == lease.trial
    assert agent.pruning.decide(again, 1, 0.0).prune
