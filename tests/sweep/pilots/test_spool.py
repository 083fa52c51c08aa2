"""What ranks say reaches the storage in order, once, and after the storage was away."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.sweep.slots.test_table import LEASE_S, expire_leases, failure, leased, optuna_trials
from wconv_jobs.messages import Finished, Report
from wconv_sweep.errors import StorageAway
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.pilots.spool import Spool, adopt, replay
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.table import Lease, LeaseLost, NoSlot, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SlotState
from wconv_sweep.study.config import StudyConfig

METRIC = "psnr_db"
OWN = "node/pilot-0/"
COMPLETE = Finished(
    ending="complete", epoch=2, metrics={"test_psnr_db": 27.0}, provenance={"host": "node"}
)


def report(epoch: int) -> Report:
    return Report(epoch=epoch, metrics={METRIC: 27.0 + epoch, "nrmse": math.inf}, epoch_s=1.0)


def starts_with(prefix: str) -> Callable[[str], bool]:
    return lambda owner: owner.startswith(prefix)


class Switch:
    """Takes a storage away, and brings it back."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        write = storage.write

        @contextmanager
        def switched() -> Iterator[Connection]:
            if self.away:
                raise StorageAway("gone")
            with write() as connection:
                yield connection

        monkeypatch.setattr(storage, "write", switched)


@pytest.fixture
def switch(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Switch:
    return Switch(storage, monkeypatch)


@pytest.fixture
def slots(storage: Storage, tiny_config: StudyConfig) -> SlotTable:
    studies.create_or_extend(storage, tiny_config, RunFolder.of(storage.folder, "tiny"), "local")
    return SlotTable(storage, tiny_config, lease_s=LEASE_S)


@pytest.fixture
def lease(slots: SlotTable) -> Lease:
    return leased(slots, f"{OWN}1")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def spool(slots: SlotTable, lease: Lease, folder: RunFolder) -> Spool:
    return Spool(slots, lease, METRIC, folder)


def put_while_away(spool: Spool, *messages: Report | Finished) -> None:
    for message in messages:
        with pytest.raises(StorageAway):
            spool.put(message)


def files(folder: RunFolder) -> list[Path]:
    return sorted(folder.spools.glob("*"))


def test_nothing_is_kept_while_the_storage_is_there(
    spool: Spool, storage: Storage, folder: RunFolder
) -> None:
    for message in (report(1), report(2), COMPLETE):
        spool.put(message)

    assert files(folder) == []
    assert read_status(storage, "tiny").trials[0].state is SlotState.COMPLETE


def test_what_waited_is_told_in_order_once_the_storage_is_back(
    spool: Spool, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1), report(2))
    spool.hold(COMPLETE)
    kept = files(folder)

    switch.away = False
    spool.flush()

    (trial,) = optuna_trials(storage)
    assert len(kept) == 1
    assert trial.intermediate_values == {1: 28.0, 2: 29.0}
    assert trial.value == 29.0
    assert (spool.is_empty, files(folder)) == (True, [])


def test_the_next_pilot_tells_what_its_predecessor_could_not(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1), report(2), COMPLETE)
    switch.away = False

    replayed = [replay(slots, METRIC, folder, is_dead=starts_with(OWN)) for _ in range(2)]

    row = read_status(storage, "tiny").trials[0]
    assert replayed == [1, 0]
    assert (row.state, row.epoch) == (SlotState.COMPLETE, 2)
    assert row.metrics["test_psnr_db"] == 27.0
    assert files(folder) == []


def test_an_attempt_without_an_end_is_handed_back_with_its_epochs(
    spool: Spool, slots: SlotTable, switch: Switch, folder: RunFolder, lease: Lease
) -> None:
    switch.away = True
    put_while_away(spool, report(1))
    switch.away = False

    replay(slots, METRIC, folder, is_dead=starts_with(OWN))

    again = leased(slots)
    assert (again.slot, again.attempt, again.epoch) == (lease.slot, 2, 1)


def test_the_reports_of_another_pilot_are_told_once_its_lease_has_run_out(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1))
    switch.away = False

    alive = replay(slots, METRIC, folder, is_dead=starts_with("node/pilot-1/"))
    kept = len(files(folder))
    expire_leases(storage)
    dead = replay(slots, METRIC, folder, is_dead=starts_with("node/pilot-1/"))

    assert (alive, kept, dead, files(folder)) == (0, 1, 1, [])
    assert leased(slots, "node/pilot-1/2").epoch == 1


@pytest.mark.parametrize("own_prefix", [OWN, "node/pilot-1/"])
def test_who_continues_a_slot_reports_what_earlier_attempts_could_not(
    spool: Spool,
    slots: SlotTable,
    storage: Storage,
    switch: Switch,
    folder: RunFolder,
    own_prefix: str,
) -> None:
    switch.away = True
    put_while_away(spool, report(1), report(2), COMPLETE)
    switch.away = False
    expire_leases(storage)
    heir = leased(slots, "node/pilot-2/3")

    replayed = replay(slots, METRIC, folder, is_dead=starts_with(own_prefix))
    left = files(folder)
    adopted = adopt(slots, heir, METRIC, folder)

    assert (replayed, len(left)) == (0, 1)
    assert (adopted, files(folder)) == (replace(heir, epoch=2), [])
    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0, 2: 29.0}
    slots.heartbeat(heir)


def test_the_spools_of_several_attempts_are_reported_in_the_order_of_their_epochs(
    slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    for owner, epoch in (("node/pilot-2/3", 1), ("node/pilot-3/3", 2)):
        spool = Spool(slots, leased(slots, owner), METRIC, folder)
        switch.away = True
        put_while_away(spool, report(epoch))
        switch.away = False
        expire_leases(storage)
    heir = leased(slots, "node/pilot-4/3")

    adopted = adopt(slots, heir, METRIC, folder)

    assert (adopted.epoch, files(folder)) == (2, [])
    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0, 2: 29.0}


def test_a_spool_is_adopted_again_when_the_heir_dies_over_it(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1), report(2))
    switch.away = False
    for owner in ("node/pilot-2/3", "node/pilot-3/3"):
        expire_leases(storage)
        heir = leased(slots, owner)
        switch.away = owner == "node/pilot-2/3"
        if switch.away:
            with pytest.raises(StorageAway):
                adopt(slots, heir, METRIC, folder)
            switch.away = False
            assert replay(slots, METRIC, folder, is_dead=starts_with("node/pilot-1/")) == 0

    assert adopt(slots, heir, METRIC, folder).epoch == 2
    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0, 2: 29.0}


@pytest.mark.parametrize("own_prefix", [OWN, "node/pilot-1/"])
@pytest.mark.slow
def test_a_spool_is_dropped_once_its_slot_has_got_as_far(
    spool: Spool,
    slots: SlotTable,
    storage: Storage,
    switch: Switch,
    folder: RunFolder,
    own_prefix: str,
) -> None:
    switch.away = True
    put_while_away(spool, report(1))
    switch.away = False
    expire_leases(storage)
    heir = leased(slots, "node/pilot-2/3")
    slots.report(heir, 1, 28.0, {})

    replayed = replay(slots, METRIC, folder, is_dead=starts_with(own_prefix))

    assert (replayed, files(folder)) == (0, [])
    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0}
    slots.heartbeat(heir)


def test_a_lease_lost_while_the_storage_was_away_leaves_no_trace(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1))
    switch.away = False
    expire_leases(storage)
    leased(slots, "node/pilot-2/3")

    with pytest.raises(LeaseLost):
        spool.flush()
    spool.discard()

    assert (spool.is_empty, files(folder)) == (True, [])
    assert optuna_trials(storage)[0].intermediate_values == {}


def test_a_torn_last_line_costs_itself_alone(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1), report(2))
    switch.away = False
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:-20])

    replay(slots, METRIC, folder, is_dead=starts_with(OWN))

    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0}
    assert leased(slots).epoch == 1


def test_a_spool_that_is_told_twice_has_one_effect(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    put_while_away(spool, report(1), report(2), COMPLETE)
    switch.away = False
    (path,) = files(folder)
    content = path.read_bytes()
    replay(slots, METRIC, folder, is_dead=starts_with(OWN))
    path.write_bytes(content)

    replay(slots, METRIC, folder, is_dead=starts_with(OWN))

    (trial,) = optuna_trials(storage)
    assert trial.intermediate_values == {1: 28.0, 2: 29.0}
    assert files(folder) == []


def test_reports_wait_in_memory_when_the_disk_is_full_too(
    spool: Spool,
    storage: Storage,
    switch: Switch,
    folder: RunFolder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder.path.mkdir()
    folder.spools.write_text("in the way of the folder")
    switch.away = True
    put_while_away(spool, report(1))

    switch.away = False
    folder.spools.unlink()
    spool.flush()

    assert "reports not kept on disk" in caplog.text
    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0}


def test_a_broken_attempt_waits_like_any_other(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    spool.hold(failure())
    switch.away = False

    replay(slots, METRIC, folder, is_dead=starts_with(OWN))

    (broken,) = read_status(storage, "tiny").failures
    assert (broken.error, broken.count, broken.traceback) == ("RuntimeError", 1, "tb")


def test_what_was_decided_on_an_epoch_is_kept_with_it(
    spool: Spool, slots: SlotTable, storage: Storage, switch: Switch, folder: RunFolder
) -> None:
    switch.away = True
    with pytest.raises(StorageAway):
        spool.put(report(1), {"wconv_pruned_at": 1})
    switch.away = False

    replay(slots, METRIC, folder, is_dead=starts_with(OWN))

    assert optuna_trials(storage)[0].system_attrs == {"wconv_pruned_at": 1}
    assert slots.lease("node/pilot-9/9") is not NoSlot.END
