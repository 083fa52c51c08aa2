"""A study's stages: the search ends, then the best is trained on fresh seeds, in one budget."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import pytest

from tests.sweep.searching import Searcher, launched, parabola, study_of
from wconv_jobs.messages import Broken
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.candidates import EXPECTED, OBSERVED
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.stages import add_ablation, open_stage
from wconv_sweep.slots.table import Lease, NoSlot
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client
from wconv_sweep.storage.tables import SlotState, Stage
from wconv_sweep.study.config import StudyConfig

RANDOM = {"name": "random"}


def study(trials: int = 20, candidates: int = 2, fresh_seeds: int = 3, **more: Any) -> StudyConfig:
    return study_of(
        RANDOM, trials=trials, confirm={"candidates": candidates, "seeds": fresh_seeds}, **more
    )


def of_stage(storage: Storage, stage: Stage) -> list[TrialRow]:
    return [row for row in read_status(storage, "tiny").trials if row.stage == stage]


def search_to_its_end(searcher: Searcher) -> None:
    """Train until the next lease is one of the confirmation, which is left open."""
    config = searcher.config
    searching = config.budget.trials - config.confirm_trials
    for _ in range(searching):
        searcher.train(searcher.lease())


def test_a_study_with_a_confirmation_has_its_budget_and_no_slot_more(storage: Storage) -> None:
    searcher = launched(storage, study(trials=20))

    before = Counter((row.stage, row.state) for row in read_status(storage, "tiny").trials)
    searcher.work()

    assert before == {("reference", "open"): 1, ("search", "open"): 10, ("confirm", "closed"): 9}
    status = read_status(storage, "tiny")
    assert status.complete
    assert status.counts[SlotState.COMPLETE] == status.budget == 20
    assert [row.position for row in status.trials] == list(range(20))


def test_the_confirmation_is_closed_until_the_last_trial_of_the_search_has_ended(
    sqlite_storage: Storage,
) -> None:
    searcher = launched(sqlite_storage, study(trials=12))
    leases = []
    searcher.train(searcher.lease())
    for _ in range(2):
        leases.append(searcher.lease())

    waiting = searcher.slots.lease("node/pilot-1/2")
    searcher.train(leases[0])
    still_waiting = searcher.slots.lease("node/pilot-1/2")
    searcher.train(leases[1])
    opened = searcher.slots.lease("node/pilot-1/2")

    assert (waiting, still_waiting) == (NoSlot.WAIT, NoSlot.WAIT)
    assert isinstance(opened, Lease)
    assert opened.stage is Stage.CONFIRM


def test_all_densities_are_confirmed_on_the_same_fresh_seeds(storage: Storage) -> None:
    searcher = launched(storage, study())
    searcher.work()

    rows = of_stage(storage, Stage.CONFIRM)
    by_label = {
        label: [row for row in rows if row.label == label]
        for label in ("plain", EXPECTED, OBSERVED)
    }

    assert sum(map(len, by_label.values())) == len(rows) == 9
    for own in by_label.values():
        assert [row.replicate for row in own] == [1, 2, 3]
        assert len({row.density for row in own}) == 1
    assert by_label["plain"][0].density == (1.0, 1.0)
    searched = [
        row for row in read_status(storage, "tiny").trials if row.stage in ("reference", "search")
    ]
    best = max(searched, key=lambda row: row.value or -9)
    assert by_label[OBSERVED][0].density == best.density
    assert {row.replicate for row in searched} == {0}


@pytest.mark.slow
def test_the_best_expected_is_nearer_to_the_best_than_any_trial(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study(trials=40))
    searcher.work()

    expected = next(
        row for row in of_stage(sqlite_storage, Stage.CONFIRM) if row.label == EXPECTED
    )

    assert expected.density == pytest.approx((0.3, 0.9), abs=0.05)


@pytest.mark.slow
def test_many_that_find_the_search_ended_open_one_confirmation(storage: Storage) -> None:
    config = study(trials=14)
    search_to_its_end(launched(storage, config))
    storages = [Storage(storage.url) for _ in range(4)]

    def lease(number: int) -> Lease | NoSlot:
        return Searcher(storages[number], config).slots.lease(f"node/pilot-{number}/1")

    with ThreadPoolExecutor(4) as threads:
        leases = list(threads.map(lease, range(4)))

    for each in storages:
        each.close()
    assert all(isinstance(each, Lease) for each in leases)
    assert len({each.slot for each in leases if isinstance(each, Lease)}) == 4
    assert Counter(row.label for row in of_stage(storage, Stage.CONFIRM)) == {
        "plain": 3,
        EXPECTED: 3,
        OBSERVED: 3,
    }


def test_opening_again_changes_nothing(sqlite_storage: Storage) -> None:
    config = study(trials=14)
    search_to_its_end(launched(sqlite_storage, config))

    open_stage(sqlite_storage, config)
    once = of_stage(sqlite_storage, Stage.CONFIRM)
    open_stage(sqlite_storage, config)

    assert of_stage(sqlite_storage, Stage.CONFIRM) == once


def test_a_candidate_less_gives_the_others_more_seeds(sqlite_storage: Storage) -> None:
    """The paper's point is the best and the surrogate's, within a hundredth of the bounds."""
    grid = {"name": "grid", "points": [11]}
    config = study_of(
        grid, trials=12 + 9 - 1, bounds=[[0.5, 1.5]], confirm={"candidates": 2, "seeds": 3}
    )
    searcher = launched(sqlite_storage, config)

    searcher.work(lambda density, _: -((density[0] - 0.8) ** 2))

    rows = of_stage(sqlite_storage, Stage.CONFIRM)
    assert Counter((row.label, row.state) for row in rows) == {
        ("plain", "complete"): 4,
        (EXPECTED, "complete"): 4,
        (None, "skipped"): 1,
    }
    assert "no seed left for all" in str(rows[-1].reason)
    assert read_status(sqlite_storage, "tiny").complete


def test_what_equals_plain_convolution_is_not_compared_with_it(sqlite_storage: Storage) -> None:
    config = study(trials=16, fresh_seeds=2, bounds=[[0.5, 1.5]])
    searcher = launched(sqlite_storage, config)

    searcher.work(lambda density, _: -((density[0] - 1.0) ** 2))

    status = read_status(sqlite_storage, "tiny")
    rows = of_stage(sqlite_storage, Stage.CONFIRM)
    assert EXPECTED not in {row.label for row in rows}
    assert status.complete


def test_without_a_completed_trial_there_is_nothing_to_confirm(storage: Storage) -> None:
    config = study(trials=11)
    searcher = launched(storage, config)
    failure = Broken(rank=0, error="E", reason="no", where="a:1", traceback="", final=False)
    for _ in range(2 * config.budget.max_attempts):
        lease = searcher.lease()
        searcher.slots.report(lease, 1, 0.0, {})
        searcher.slots.break_(lease, failure)
        studies.reopen(storage, "tiny")

    leased = searcher.slots.lease("node/pilot-0/1")

    status = read_status(storage, "tiny")
    assert leased is NoSlot.END
    assert status.complete
    assert status.counts[SlotState.SKIPPED] == 9
    assert "no trial has completed" in str(status.trials[-1].reason)


def test_confirmation_never_feeds_the_sampler(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study(trials=14))
    searcher.work()

    searcher.mirror.refresh()

    assert searcher.mirror.completed == 5
    assert len(searcher.mirror.points) == 5


def test_confirmation_is_never_pruned(sqlite_storage: Storage) -> None:
    pruner = {"name": "median", "startup_trials": 1, "warmup_epochs": 1}
    searcher = launched(sqlite_storage, study(trials=14, epochs=4, pruner=pruner))
    search_to_its_end(searcher)

    lease = searcher.lease()

    assert lease.stage is Stage.CONFIRM
    assert not searcher.report(lease, 2, -1e6)
    assert not searcher.report(lease, 3, -1e6)


def test_the_dashboard_shows_what_the_confirmation_trains(storage: Storage) -> None:
    searcher = launched(storage, study(trials=14))
    searcher.work()
    client = optuna_client(storage)

    trials = optuna.load_study(study_name="tiny", storage=client).get_trials()

    close_client(client, storage)
    confirmed = [trial for trial in trials if trial.user_attrs["stage"] == "confirm"]
    assert Counter(trial.user_attrs["label"] for trial in confirmed) == {
        "plain": 3,
        EXPECTED: 3,
        OBSERVED: 3,
    }
    assert {trial.user_attrs["seed_index"] for trial in confirmed} == {1, 2, 3}
    assert all(trial.params for trial in confirmed)


def test_a_larger_budget_searches_on_before_the_confirmation(storage: Storage) -> None:
    searcher = launched(storage, study(trials=14))
    searcher.train(searcher.lease())
    larger = study(trials=17)

    studies.create_or_extend(storage, larger, RunFolder.of(storage.folder, "tiny"), "local")
    searcher.work()

    status = read_status(storage, "tiny")
    assert [row.stage for row in status.trials] == ["reference"] + ["search"] * 7 + ["confirm"] * 9
    assert [row.trial for row in status.trials] == list(range(17))
    assert status.counts[SlotState.COMPLETE] == 17


def test_a_budget_cannot_grow_once_the_confirmation_has_begun(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study(trials=14))
    search_to_its_end(searcher)
    searcher.lease()

    with pytest.raises(StudyError, match=r"its search has ended and the confirmation has started"):
        studies.create_or_extend(
            sqlite_storage, study(trials=15), RunFolder.of(sqlite_storage.folder, "tiny"), "local"
        )


def test_every_density_is_trained_on_as_many_seeds_as_wanted(storage: Storage) -> None:
    config = study(trials=2 + 8 + 9, seeds=2)
    searcher = launched(storage, config)
    searcher.work()

    status = read_status(storage, "tiny")
    search = [row for row in status.trials if row.stage == Stage.SEARCH]
    assert status.counts[SlotState.COMPLETE] == 19
    assert [row.replicate for row in search] == [0, 1] * 4
    for first, second in zip(search[::2], search[1::2], strict=True):
        assert first.density == second.density
    assert len({row.density for row in search}) == 4
    assert {row.replicate for row in of_stage(storage, Stage.CONFIRM)} == {2, 3, 4}
    assert [row.label for row in status.trials[:2]] == ["plain", "plain"]


def test_seeds_of_what_was_never_proposed_end_with_a_reason(
    sqlite_storage: Storage,
) -> None:
    config = study_of(RANDOM, trials=4, seeds=2)
    searcher = launched(sqlite_storage, config)
    for _ in range(2):
        searcher.train(searcher.lease())
    failure = Broken(rank=0, error="E", reason="no", where="a:1", traceback="", final=False)
    for _ in range(config.budget.max_attempts):
        searcher.slots.break_(searcher.lease(), failure)

    assert searcher.slots.lease("node/pilot-0/1") is NoSlot.END
    last = read_status(sqlite_storage, "tiny").trials[-1]
    assert (last.state, last.reason) == (
        SlotState.SKIPPED,
        "no density was proposed for it to repeat",
    )


def test_an_ablation_takes_density_and_seeds_of_the_confirmation(storage: Storage) -> None:
    config = study(trials=14)
    searcher = launched(storage, config)
    add_ablation(storage, config)
    add_ablation(storage, config)

    searcher.work()

    status = read_status(storage, "tiny")
    rows = of_stage(storage, Stage.ABLATION)
    assert status.counts[SlotState.COMPLETE] == status.budget == 14 + 2 * 3
    assert Counter((row.label, row.replicate) for row in rows) == {
        (label, seed): 1 for label in ("initial weights", "gradient") for seed in (1, 2, 3)
    }
    assert status.confirmation is not None
    assert status.confirmation.selected is not None
    assert {row.density for row in rows} == {status.confirmation.selected.density}


@pytest.mark.slow
def test_an_ablation_may_follow_a_study_that_has_ended(sqlite_storage: Storage) -> None:
    config = study(trials=14)
    searcher = launched(sqlite_storage, config)
    searcher.work()
    assert searcher.slots.lease("node/pilot-0/1") is NoSlot.END

    add_ablation(sqlite_storage, config)
    searcher.work()

    assert read_status(sqlite_storage, "tiny").counts[SlotState.COMPLETE] == 20


def test_an_ablation_without_a_confirmation_is_refused(sqlite_storage: Storage) -> None:
    config = study_of(RANDOM)
    launched(sqlite_storage, config)

    with pytest.raises(StudyError, match="has no confirmation"):
        add_ablation(sqlite_storage, config)


def test_the_density_with_the_best_mean_on_fresh_seeds_is_named(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study(trials=30))
    searcher.work(parabola)

    confirmation = read_status(sqlite_storage, "tiny").confirmation

    assert confirmation is not None
    assert confirmation.selected is not None
    assert confirmation.selected.label == EXPECTED
    assert confirmation.complete
    assert "on 3 fresh seeds" in confirmation.claim
