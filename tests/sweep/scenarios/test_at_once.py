"""Several processes do the same at the same moment, and it happens once."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import URL, select

from tests.sweep.nursery import called
from tests.sweep.postgres import Server
from tests.sweep.slots.test_table import expire_leases, failure, optuna_trials
from tests.sweep.tiny import TINY
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.leases import study_row
from wconv_sweep.slots.retry import retry
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage, create_storage, open_storage
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, SlotState, StudyState
from wconv_sweep.study.config import StudyConfig

pytestmark = pytest.mark.slow

PROCESSES = 6
LEASE_S = 600.0

CONFIG = StudyConfig.model_validate(TINY | {"budget": {"trials": 40}})


def together(work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function in several processes at the same moment, and return what they returned."""
    returned = called(_together, work, arguments)
    failed = [result for result in returned if isinstance(result, Exception)]
    assert failed == []
    return returned


def _together(work: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=_at_once, args=(barrier, results, work, number, *arguments))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    returned = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    return returned


def _at_once(
    barrier: Barrier,
    results: "Queue[Any]",
    work: Callable[..., Any],
    number: int,
    *arguments: Any,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    barrier.wait(timeout=120)
    try:
        results.put(work(number, *arguments))
    except Exception as error:
        results.put(RuntimeError(repr(error)))


def _launch(number: int, url: URL, folder: Path) -> bool:
    storage = create_storage(url)
    try:
        return studies.create_or_extend(storage, CONFIG, RunFolder(folder), "local")
    finally:
        storage.close()


def _lease(number: int, url: URL, count: int) -> list[Lease]:
    storage = open_storage(url)
    try:
        # The server of the tests is younger than a lease.
        storage.up_since = lambda: None  # type: ignore[method-assign]
        slots = SlotTable(storage, CONFIG, lease_s=LEASE_S)
        leases = slots.lease_many(f"node/pilot-{number}/1", count)
        return leases if isinstance(leases, list) else []
    finally:
        storage.close()


def _break(number: int, url: URL, leases: list[Lease]) -> SlotState:
    storage = open_storage(url)
    try:
        slots = SlotTable(storage, CONFIG, lease_s=LEASE_S)
        return slots.break_(leases[number], failure())
    finally:
        storage.close()


def _retry(number: int, url: URL) -> int:
    storage = open_storage(url)
    try:
        return len(retry(storage, "tiny", None))
    finally:
        storage.close()


def begin(storage: Storage) -> SlotTable:
    """Create the study and let its canary finish an epoch."""
    studies.create_or_extend(storage, CONFIG, RunFolder.of(storage.folder, "tiny"), "local")
    slots = SlotTable(storage, CONFIG, lease_s=LEASE_S)
    canary = slots.lease("node/pilot-99/1")
    assert isinstance(canary, Lease)
    slots.report(canary, 1, 28.0, {})
    return slots


def test_several_launches_at_once_make_one_study(storage_url: URL, tmp_path: Path) -> None:
    made = together(_launch, storage_url, tmp_path / "tiny")

    storage = open_storage(storage_url)
    status = read_status(storage, "tiny")
    with storage.read() as connection:
        positions = list(connection.scalars(select(SLOTS.c.position).order_by(SLOTS.c.position)))
    trials = optuna_trials(storage)
    storage.close()
    assert sorted(made) == [False] * (PROCESSES - 1) + [True]
    assert positions == list(range(40))
    assert (status.budget, status.state, trials) == (40, StudyState.ACTIVE, [])


def test_several_workers_at_once_never_share_a_slot_or_a_trial(storage: Storage) -> None:
    begin(storage)

    leases = [lease for each in together(_lease, storage.url, 3) for lease in each]

    assert sorted(lease.position for lease in leases) == list(range(1, 3 * PROCESSES + 1))
    assert sorted(lease.trial for lease in leases) == list(range(1, 3 * PROCESSES + 1))
    assert len(optuna_trials(storage)) == 3 * PROCESSES + 1


def test_one_of_several_workers_at_once_gets_the_canary(storage: Storage) -> None:
    studies.create_or_extend(storage, CONFIG, RunFolder.of(storage.folder, "tiny"), "local")

    leases = together(_lease, storage.url, 3)

    assert sorted(len(each) for each in leases) == [0] * (PROCESSES - 1) + [1]


def test_several_reapers_at_once_hand_each_slot_back_once(storage: Storage) -> None:
    slots = begin(storage)
    dead = slots.lease_many("node/pilot-98/1", 8)
    assert isinstance(dead, list)
    expire_leases(storage)

    leases = [lease for each in together(_lease, storage.url, 2) for lease in each]

    with storage.read() as connection:
        attempts = connection.execute(select(ATTEMPTS).order_by(ATTEMPTS.c.id)).all()
    interrupted = [row for row in attempts if row.outcome == "interrupted"]
    running = [row for row in attempts if row.outcome == "running"]
    assert len({lease.slot for lease in leases}) == len(leases) == 2 * PROCESSES
    # The nine that were dead, each once, with the reason; and one new attempt for each lease.
    assert sorted(row.slot for row in interrupted) == list(range(1, 10))
    assert {row.reason for row in interrupted} == {"lease ran out"}
    assert sorted((row.slot, row.owner) for row in running) == sorted(
        (lease.slot, lease.owner) for lease in leases
    )
    assert len(optuna_trials(storage)) == 2 * PROCESSES


def test_failures_at_the_same_moment_are_all_counted(storage: Storage) -> None:
    slots = begin(storage)
    leases = slots.lease_many("node/pilot-97/1", PROCESSES)

    together(_break, storage.url, leases)

    status = read_status(storage, "tiny")
    assert status.state is StudyState.BROKEN
    assert status.reason == "3 equal failures: RuntimeError at net.py:7: no"
    assert [each.count for each in status.failures] == [PROCESSES]


def test_several_retries_at_once_open_a_slot_once(storage: Storage) -> None:
    slots = begin(storage)
    lease = slots.lease("node/pilot-96/1")
    assert isinstance(lease, Lease)
    slots.break_(lease, failure("TrainingDiverged", final=True))

    opened = together(_retry, storage.url)

    assert sorted(opened) == [0] * (PROCESSES - 1) + [1]
    assert read_status(storage, "tiny").ended == 0


@pytest.mark.parametrize("end", ["complete", "prune"])
def test_a_trial_ends_while_another_agent_leases(
    postgres: Server, tmp_path: Path, end: str
) -> None:
    url = postgres.empty_database()
    agent, other = create_storage(url), open_storage(url)
    studies.create_or_extend(agent, CONFIG, RunFolder(tmp_path), "local")
    slots = SlotTable(agent, CONFIG, lease_s=LEASE_S)
    lease = slots.lease("node/pilot-0/1")
    assert isinstance(lease, Lease)
    slots.report(lease, 1, 20.0, {})

    # A lease is under way. Before, the end waited for it, here in vain.
    with other.write() as connection:
        study_row(connection, CONFIG.study, lock=True)
        slots.complete(lease, {}, {}) if end == "complete" else slots.prune(lease)

    ended = SlotState.COMPLETE if end == "complete" else SlotState.PRUNED
    assert read_status(agent, CONFIG.study).counts[ended] == 1
    agent.close()
    other.close()
