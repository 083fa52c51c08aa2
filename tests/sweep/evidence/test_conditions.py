"""The conditions under which a run was timed, from what its attempts recorded."""

from typing import Any

from sqlalchemy import update

from tests.sweep.searching import Searcher, launched, study_of
from wconv_sweep.evidence.conditions import Conditions, read_conditions
from wconv_sweep.slots.table import Lease, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS

OF_RANKS = {
    "host": "node1",
    "device": "H200",
    "torch": "2.13.0",
    "ranks": "2",
    "threads": "4",
    "steady_epochs": "4",
}


def train(storage: Storage, *, interrupted_on: str | None = None, **changes: str) -> None:
    """Complete the next slot, perhaps after an attempt on a host."""
    searcher = Searcher(storage, study_of({"name": "qmc"}))
    if interrupted_on is not None:
        origin = {"host": interrupted_on}
        before = SlotTable(storage, searcher.config, lease_s=60, provenance=origin)
        lease = before.lease("node/pilot-0/1")
        assert isinstance(lease, Lease)
        searcher.density_of(lease)
        before.interrupt(lease, "preempted")
    lease = searcher.lease()
    searcher.density_of(lease)
    searcher.slots.report(lease, 1, 30.0, {"psnr_db": 30.0})
    searcher.slots.complete(lease, {"test_psnr_db": 30.0}, OF_RANKS | changes)


def at(storage: Storage, *times: tuple[float, float | None]) -> None:
    """Say when the attempts began and ended."""
    with storage.write() as connection:
        for number, (began, ended) in enumerate(times, start=1):
            changed: dict[str, Any] = {"started_at": began, "ended_at": ended}
            connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id == number).values(changed))


def test_trials_side_by_side_are_those_on_the_same_host_for_most_of_the_time(
    sqlite_storage: Storage,
) -> None:
    """Trial 0 has 100 s: 60 beside trial 1, 10 beside trial 2, none beside that of node 2."""
    launched(sqlite_storage, study_of({"name": "qmc"}))
    for host in ("node1", "node1", "node1", "node2"):
        train(sqlite_storage, host=host)
    at(sqlite_storage, (0.0, 100.0), (40.0, 140.0), (90.0, 300.0), (0.0, 100.0))

    found = read_conditions(sqlite_storage, "tiny", range(4))

    assert found[0] == Conditions("node1", "H200", "2.13.0", "2", "4", side_by_side=2)
    # Trial 1: 60 of 100 s beside trial 0, 50 beside trial 2. Trial 2: 60 of 210.
    assert [found[each].side_by_side for each in (1, 2, 3)] == [2, 1, 1]
    assert found[3].host == "node2"


def test_a_run_that_changed_hosts_or_timed_no_whole_epoch_has_none(
    sqlite_storage: Storage,
) -> None:
    launched(sqlite_storage, study_of({"name": "qmc"}))
    train(sqlite_storage, interrupted_on="node1")
    train(sqlite_storage, interrupted_on="node2")
    train(sqlite_storage, steady_epochs="0")
    train(sqlite_storage)

    assert read_conditions(sqlite_storage, "tiny", range(4)).keys() == {0, 3}
    assert read_conditions(sqlite_storage, "tiny", []) == {}
    assert read_conditions(sqlite_storage, "tiny", [5]) == {}
