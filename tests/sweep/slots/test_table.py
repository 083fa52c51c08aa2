"""The budget: every slot is leased by one worker at a time and ends exactly once."""

import itertools
import math
import multiprocessing
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import URL, Engine, event, make_url, select, update

from tests.sweep.nursery import called
from tests.sweep.tiny import TINY
from wconv_jobs.messages import Broken
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.evidence.trial_cost import costs_the_same
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.table import Lease, LeaseLost, NoSlot, SlotTable
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage, open_storage
from wconv_sweep.storage.optuna_client import optuna_client
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, SlotState, StudyState
from wconv_sweep.study.config import StudyConfig, config_of
from wconv_sweep.study.point import Point

LEASE_S = 60.0


@pytest.fixture
def slots(storage: Storage, tiny_config: StudyConfig) -> SlotTable:
    studies.create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    return SlotTable(storage, tiny_config, lease_s=LEASE_S)


def leased(slots: SlotTable, owner: str = "node/pilot-0/1") -> Lease:
    lease = slots.lease(owner)
    assert isinstance(lease, Lease)
    return lease


def train(slots: SlotTable, config: StudyConfig, lease: Lease, value: float) -> None:
    """Do to a lease what an agent does for a trial of two epochs."""
    if lease.point is None:
        slots.set_point(lease, Point((0.75,)))
    for epoch in range(lease.epoch + 1, 3):
        slots.report(lease, epoch, value, {"psnr_db": value})
    slots.complete(lease, {"test_psnr_db": value}, {"host": "node"})


def failure(error: str = "RuntimeError", *, final: bool = False) -> Broken:
    return Broken(rank=0, error=error, reason="no", where="net.py:7", traceback="tb", final=final)


def expire_leases(storage: Storage) -> None:
    with storage.write() as connection:
        connection.execute(
            update(SLOTS).where(SLOTS.c.state == SlotState.LEASED).values(lease_until=1.0)
        )


def optuna_trials(storage: Storage) -> list[optuna.trial.FrozenTrial]:
    client = optuna_client(storage)
    trials = optuna.load_study(study_name="tiny", storage=client).get_trials()
    client.remove_session()
    client.engine.dispose()
    return trials


def test_the_plain_baseline_is_the_first_slot(slots: SlotTable) -> None:
    lease = leased(slots)

    assert (lease.label, lease.point, lease.trial, lease.attempt) == ("plain", Point((1.0,)), 0, 1)


def test_a_study_ends_with_exactly_its_budget(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    for value in (28.0, 30.0, 29.0):
        train(slots, tiny_config, leased(slots), value)

    assert slots.lease("node/pilot-0/1") is NoSlot.END
    status = read_status(storage, "tiny")
    assert status.complete
    assert [row.trial for row in status.trials] == [0, 1, 2]
    assert status.result is not None
    assert status.result.difference == 2.0


def test_the_first_trial_is_a_canary(slots: SlotTable) -> None:
    canary = leased(slots)

    while_it_is_out = slots.lease("node/pilot-1/2")
    slots.report(canary, 1, 28.0, {})
    after_its_first_epoch = slots.lease("node/pilot-1/2")

    assert while_it_is_out is NoSlot.WAIT
    assert isinstance(after_its_first_epoch, Lease)


def test_the_worker_of_a_canary_that_has_taken_a_step_may_lease_more_and_no_other(
    slots: SlotTable,
) -> None:
    canary = leased(slots)

    others = slots.lease_many("node/pilot-1/2", 2, stepped=True)
    of_a_similar_name = slots.lease_many("node/pilot-0/12", 2, stepped=True)
    before_its_step = slots.lease_many("node/pilot-0/1", 2)
    mine = slots.lease_many("node/pilot-0/1", 2, stepped=True)

    assert {others, of_a_similar_name, before_its_step} == {NoSlot.WAIT}
    assert isinstance(mine, list)
    assert [lease.position for lease in (canary, *mine)] == [0, 1, 2]


def test_after_a_canary_that_broke_there_is_one_again(slots: SlotTable) -> None:
    canary = leased(slots)
    slots.break_(canary, failure())

    # What the worker knows of the step is of the trial that has just broken.
    leases = slots.lease_many("node/pilot-0/1", 2, stepped=True)

    assert isinstance(leases, list)
    assert len(leases) == 1


def test_of_many_that_lease_at_once_one_gets_the_canary(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    storages = [Storage(storage.url) for _ in range(8)]

    def lease(number: int) -> Lease | NoSlot:
        table = SlotTable(storages[number], tiny_config, lease_s=LEASE_S)
        return table.lease(f"node/pilot-{number}/1")

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lease, range(8)))

    for each in storages:
        each.close()
    assert sum(isinstance(outcome, Lease) for outcome in outcomes) == 1
    assert outcomes.count(NoSlot.WAIT) == 7


def test_an_interrupted_slot_keeps_its_trial_and_its_epochs(slots: SlotTable) -> None:
    first = leased(slots)
    slots.report(first, 1, 28.0, {})
    slots.interrupt(first, "stopped")

    again = leased(slots)

    assert (again.slot, again.trial, again.trial_id) == (first.slot, first.trial, first.trial_id)
    assert (again.attempt, again.epoch) == (2, 1)


def test_interruptions_are_free(slots: SlotTable, storage: Storage) -> None:
    for _ in range(5):
        slots.interrupt(leased(slots), "stopped")

    again = leased(slots)

    assert again.attempt == 6
    assert read_status(storage, "tiny").failures == []


def test_a_pruned_slot_ends_with_the_value_of_its_last_epoch(
    slots: SlotTable, storage: Storage
) -> None:
    lease = leased(slots)
    slots.report(lease, 1, 27.5, {})

    slots.prune(lease)

    row = read_status(storage, "tiny").trials[0]
    assert (row.state, row.value) == (SlotState.PRUNED, 27.5)
    (trial,) = optuna_trials(storage)
    assert (trial.state, trial.value) == (optuna.trial.TrialState.PRUNED, 27.5)


def test_a_zombie_changes_nothing(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    zombie = leased(slots, "node/pilot-0/1")
    expire_leases(storage)
    heir = leased(slots, "node/pilot-1/2")

    for attempt in (
        lambda: slots.heartbeat(zombie),
        lambda: slots.report(zombie, 1, 99.0, {}),
        lambda: slots.complete(zombie, {}, {}),
        lambda: slots.prune(zombie),
        lambda: slots.interrupt(zombie, "late"),
        lambda: slots.break_(zombie, failure()),
        lambda: slots.set_point(zombie, Point((0.5,))),
    ):
        with pytest.raises(LeaseLost):
            attempt()

    train(slots, tiny_config, heir, 28.0)
    (trial, *_) = optuna_trials(storage)
    assert trial.intermediate_values == {1: 28.0, 2: 28.0}


def test_a_lease_that_ran_out_is_given_away_and_a_renewed_one_is_not(
    slots: SlotTable, storage: Storage
) -> None:
    silent = leased(slots, "node/pilot-0/1")
    expire_leases(storage)
    slots.heartbeat(silent)
    after_renewal = slots.lease("node/pilot-1/2")

    expire_leases(storage)
    after_silence = slots.lease("node/pilot-1/2")

    assert after_renewal is NoSlot.WAIT
    assert isinstance(after_silence, Lease)
    assert after_silence.slot == silent.slot


def test_slots_of_a_dead_pilot_are_handed_back_at_once(slots: SlotTable) -> None:
    dead = leased(slots, "node/pilot-1/7")

    freed = slots.interrupt_all_of("node/pilot-1/", "its pilot died")
    others = slots.interrupt_all_of("node/pilot-10/", "its pilot died")

    assert (freed, others) == (1, 0)
    assert leased(slots).slot == dead.slot


def test_a_slot_fails_after_its_last_attempt_with_the_reason(
    slots: SlotTable, storage: Storage
) -> None:
    states = [slots.break_(leased(slots), failure(f"Error{number}")) for number in range(3)]

    assert states == [SlotState.OPEN, SlotState.OPEN, SlotState.FAILED]
    row = read_status(storage, "tiny").trials[0]
    assert (row.state, row.reason) == (SlotState.FAILED, "Error2: no")
    (trial, *_) = optuna_trials(storage)
    assert trial.state is optuna.trial.TrialState.FAIL
    assert trial.user_attrs["failed"] == "Error2: no"


def test_what_would_end_the_same_way_is_not_tried_again(slots: SlotTable) -> None:
    state = slots.break_(leased(slots), failure("TrainingDiverged", final=True))

    assert state is SlotState.FAILED


def test_a_failure_that_no_repetition_mends_stops_the_study_and_costs_no_slot(
    slots: SlotTable, storage: Storage
) -> None:
    state = slots.break_(leased(slots), failure("JobError", final=True))

    status = read_status(storage, "tiny")
    with storage.read() as connection:
        counted = connection.scalar(select(SLOTS.c.broken).where(SLOTS.c.position == 0))
    assert state is SlotState.OPEN
    assert (status.state, status.ended, counted) == (StudyState.BROKEN, 0, 0)
    assert status.reason == "a failure: JobError at net.py:7: no"


def test_equal_failures_stop_the_study_until_it_is_resumed(
    slots: SlotTable, storage: Storage
) -> None:
    for _ in range(3):
        slots.break_(leased(slots), failure())

    broken = read_status(storage, "tiny")
    lease_when_broken = slots.lease("node/pilot-0/1")
    studies.reopen(storage, "tiny")
    lease_when_resumed = slots.lease("node/pilot-0/1")

    assert broken.state is StudyState.BROKEN
    assert broken.reason == "3 equal failures: RuntimeError at net.py:7: no"
    assert [(each.count, each.traceback) for each in broken.failures] == [(3, "tb")]
    assert lease_when_broken is NoSlot.END
    assert isinstance(lease_when_resumed, Lease)


def test_one_bad_slot_does_not_stop_a_study_that_has_shown_that_it_works(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    train(slots, tiny_config, leased(slots), 28.0)

    states = [slots.break_(leased(slots), failure()) for _ in range(3)]

    assert states == [SlotState.OPEN, SlotState.OPEN, SlotState.FAILED]
    assert read_status(storage, "tiny").state is StudyState.ACTIVE


def test_a_metric_without_a_value_is_left_out(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    lease = leased(slots)
    slots.report(lease, 1, 28.0, {"psnr_db": 28.0, "nrmse": math.inf})
    slots.complete(lease, {"test_nrmse": math.nan, "test_psnr_db": 27.0}, {})

    assert read_status(storage, "tiny").trials[0].metrics == {
        "psnr_db": 28.0,
        "test_psnr_db": 27.0,
    }


def test_different_failures_do_not_stop_the_study(slots: SlotTable, storage: Storage) -> None:
    for number in range(4):
        slots.break_(leased(slots), failure(f"Error{number}"))

    assert read_status(storage, "tiny").state is StudyState.ACTIVE


def test_diverging_densities_stop_a_study_only_when_nothing_has_completed(
    slots: SlotTable, storage: Storage
) -> None:
    config = StudyConfig.model_validate(TINY | {"budget": {"trials": 9}})
    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    train(slots, config, leased(slots), 28.0)

    for _ in range(4):
        slots.break_(leased(slots), failure("TrainingDiverged", final=True))

    assert read_status(storage, "tiny").state is StudyState.ACTIVE


def test_a_stopped_study_gives_out_no_slots(slots: SlotTable, storage: Storage) -> None:
    running = leased(slots)

    studies.stop(storage, "tiny")

    assert slots.heartbeat(running) is StudyState.STOPPED
    assert slots.lease("node/pilot-1/2") is NoSlot.END


def test_launching_twice_adds_nothing(storage: Storage, tiny_config: StudyConfig) -> None:
    folder = RunFolder.of(storage.folder, "tiny")

    made = [studies.create_or_extend(storage, tiny_config, folder, "local") for _ in range(2)]

    assert made == [True, False]
    assert read_status(storage, "tiny").budget == 3


def test_a_study_keeps_its_run_folder_and_may_be_moved_with_it(
    sqlite_storage: Storage, tiny_config: StudyConfig, tmp_path: Path
) -> None:
    storage = sqlite_storage
    studies.create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    studies.create_or_extend(
        storage, tiny_config, RunFolder.of(tmp_path / "other", "tiny"), "local"
    )
    kept = definitions.study_place(storage, "tiny").folder.path
    storage.close()
    moved = tmp_path.with_name(tmp_path.name + "_moved")
    tmp_path.rename(moved)

    reopened = open_storage(choose_url(None, moved, {}))

    assert kept == tmp_path / "tiny"
    assert definitions.study_place(reopened, "tiny").folder.path == moved / "tiny"
    reopened.close()


def test_a_larger_budget_adds_slots(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    larger = StudyConfig.model_validate(TINY | {"budget": {"trials": 5}})

    studies.create_or_extend(storage, larger, RunFolder.of(storage.folder, "tiny"), "local")

    assert [row.position for row in read_status(storage, "tiny").trials] == [0, 1, 2, 3, 4]
    assert definitions.load_config(storage, "tiny").budget.trials == 5


@pytest.mark.parametrize(
    ("sections", "difference"),
    [
        (
            {"search": {"bounds": [[0.5, 1.4]], "sampler": {"name": "random"}}},
            "search.bounds was [[0.5, 1.5]], is now [[0.5, 1.4]]",
        ),
        ({"budget": {"trials": 2}}, "budget.trials was 3, is now 2 (it may only grow)"),
        ({"seed": 1}, "seed was 0, is now 1"),
    ],
)
def test_another_definition_under_the_same_name_is_refused(
    slots: SlotTable, storage: Storage, sections: dict[str, Any], difference: str
) -> None:
    other = StudyConfig.model_validate(TINY | sections)

    with pytest.raises(StudyError) as caught:
        studies.create_or_extend(storage, other, RunFolder.of(storage.folder, "tiny"), "local")

    assert difference in str(caught.value)
    assert read_status(storage, "tiny").budget == 3


def with_memory_format(config: StudyConfig, memory_format: str | None) -> StudyConfig:
    """Return the definition with that key of its recipe."""
    recipe = config.recipe.model_copy(update={"memory_format": memory_format})
    return config.model_copy(update={"recipe": recipe})


def test_a_study_that_is_older_than_the_order_of_tensors_goes_on_as_it_was_begun(
    sqlite_storage: Storage, tiny_config: StudyConfig
) -> None:
    storage, folder = sqlite_storage, RunFolder.of(sqlite_storage.folder, "tiny")
    begun = with_memory_format(tiny_config, "contiguous")
    # As its definition was written before there was the key.
    assert "memory_format" not in begun.plain()["recipe"]
    studies.create_or_extend(storage, begun, folder, "local")

    larger = StudyConfig.model_validate(TINY | {"budget": {"trials": 5}})
    studies.create_or_extend(storage, larger, folder, "local")

    stored = definitions.load_config(storage, "tiny")
    assert (stored.budget.trials, stored.recipe.memory_format) == (5, "contiguous")
    with pytest.raises(
        StudyError, match=r'memory_format was "contiguous", is now "channels_last"'
    ):
        studies.check_same(storage, with_memory_format(tiny_config, "channels_last"))


def test_a_study_that_is_older_than_compiled_steps_and_fused_optimizers_is_the_same_study(
    tiny_config: StudyConfig,
) -> None:
    recipe = tiny_config.plain()["recipe"]
    optimizer = tiny_config.recipe.optimizer.model_copy(update={"implementation": "fused"})
    update = {"compile": True, "optimizer": optimizer}
    trial = tiny_config.trial.model_copy(update={"per_gpu": 2})
    other = tiny_config.model_copy(
        update={"recipe": tiny_config.recipe.model_copy(update=update), "trial": trial}
    )

    assert "per_gpu" not in tiny_config.plain()["trial"]
    assert "compile" not in recipe
    assert "implementation" not in recipe["optimizer"]
    assert other.plain()["trial"]["per_gpu"] == 2
    assert other.plain()["recipe"]["compile"] is True
    assert other.plain()["recipe"]["optimizer"]["implementation"] == "fused"
    assert other.digest() != tiny_config.digest()
    assert config_of(other.plain()) == other
    assert not costs_the_same(tiny_config.plain(), other)


def test_a_study_in_one_order_of_tensors_does_not_go_on_in_another(
    slots: SlotTable, storage: Storage, tiny_config: StudyConfig
) -> None:
    with pytest.raises(StudyError, match=r'memory_format was null, is now "contiguous"'):
        studies.check_same(storage, with_memory_format(tiny_config, "contiguous"))


def test_a_study_that_optuna_made_is_not_taken_over(
    storage: Storage, tiny_config: StudyConfig
) -> None:
    client = optuna_client(storage)
    foreign = optuna.create_study(study_name="tiny", storage=client, direction="maximize")
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    client.remove_session()
    client.engine.dispose()

    with pytest.raises(StudyError, match=r"1 trials that wconv-sweep did not make"):
        studies.create_or_extend(
            storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local"
        )


@pytest.mark.slow
def test_workers_killed_in_the_middle_of_anything_end_exactly_the_budget(
    storage_url: URL,
) -> None:
    config = StudyConfig.model_validate(TINY | {"budget": {"trials": 24}})
    url = storage_url
    storage = create_storage(url)
    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")

    kills = called(_end_the_budget, str(url))

    trials = optuna_trials(storage)
    with storage.read() as connection:
        rows = connection.execute(select(SLOTS).order_by(SLOTS.c.position)).all()
        attempts = connection.execute(select(ATTEMPTS)).all()
    storage.close()
    assert kills >= 16
    assert [trial.number for trial in trials] == list(range(24))
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert sorted(row.trial for row in rows) == list(range(24))
    assert sum(row.label == "plain" for row in rows) == 1
    assert sum(attempt.outcome == "complete" for attempt in attempts) == 24
    assert {attempt.outcome for attempt in attempts} == {"complete", "interrupted"}
    for trial in trials:
        assert trial.intermediate_values == {1: 28.0, 2: 28.0}
        assert set(trial.params) == {"density_1"}


def _end_the_budget(url: str) -> int:
    """Let four workers end a study, most of which are killed; return how many were."""
    context = multiprocessing.get_context("fork")
    random_ = random.Random(0)

    def start(number: int, *, dies: bool) -> ForkProcess:
        # Every statement of a worker's life may be its last one, also inside a transaction.
        last = random_.randrange(5, 60) if dies else 0
        process = context.Process(target=_work, args=(url, number, last))
        process.start()
        return process

    def complete() -> bool:
        # Closed before the next worker is forked, which may inherit no connection.
        with closing(open_storage(make_url(url))) as storage:
            return read_status(storage, "tiny").complete

    kills = 0
    workers = {number: start(number, dies=True) for number in range(4)}
    while not complete():
        wait([worker.sentinel for worker in workers.values()], timeout=60)
        for number, worker in list(workers.items()):
            if not worker.is_alive():
                kills += worker.exitcode == -signal.SIGKILL
                assert kills < 200
                workers[number] = start(number, dies=kills < 16)
    for worker in workers.values():
        worker.join()
    return kills


def _work(url: str, number: int, last: int) -> None:
    """Work like an agent; a new worker of a number knows that the one before is dead.

    Args:
        url: the storage.
        number: of the pilot.
        last: the statement before which the worker is killed; 0 lets it live.
    """
    storage = open_storage(make_url(url))
    config = definitions.load_config(storage, "tiny")
    slots = SlotTable(storage, config, lease_s=LEASE_S)
    statements = itertools.count(1)

    @event.listens_for(Engine, "before_cursor_execute")
    def die(*_: object) -> None:
        if next(statements) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    slots.interrupt_all_of(f"node/pilot-{number}/", "its pilot died")
    while (lease := slots.lease(f"node/pilot-{number}/{os.getpid()}")) is not NoSlot.END:
        if isinstance(lease, Lease):
            train(slots, config, lease, 28.0)
    storage.close()
