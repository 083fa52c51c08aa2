"""Every change of a slot may be repeated: the answer to its COMMIT may have been lost."""

import optuna
import pytest
from sqlalchemy import func, select

from tests.sweep.slots.test_table import LEASE_S, expire_leases, failure, optuna_trials, train
from tests.sweep.tiny import TINY
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.table import Lease, LeaseLost, NoSlot, SlotTable
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, SlotState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

OWNER = "node/pilot-0/1"


@pytest.fixture
def config() -> StudyConfig:
    return StudyConfig.model_validate(TINY | {"budget": {"trials": 6}})


@pytest.fixture
def slots(storage: Storage, config: StudyConfig) -> SlotTable:
    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    return SlotTable(storage, config, lease_s=LEASE_S)


@pytest.fixture
def lease(slots: SlotTable) -> Lease:
    leased = slots.lease(OWNER, nonce="a")
    assert isinstance(leased, Lease)
    return leased


def rows(storage: Storage, state: SlotState) -> int:
    with storage.read() as connection:
        query = select(func.count()).select_from(SLOTS).where(SLOTS.c.state == state)
        return connection.scalar(query) or 0


def attempts(storage: Storage) -> list[str]:
    with storage.read() as connection:
        return list(connection.scalars(select(ATTEMPTS.c.outcome).order_by(ATTEMPTS.c.id)))


def test_a_repeated_lease_returns_what_the_first_one_has_leased(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    slots.report(lease, 1, 28.0, {})
    first = slots.lease_many(OWNER, 3, nonce="b")
    again = slots.lease_many(OWNER, 3, nonce="b")

    assert isinstance(first, list)
    assert again == first
    assert rows(storage, SlotState.LEASED) == 4
    assert len(optuna_trials(storage)) == 4


def test_a_repeated_lease_returns_only_what_is_still_held(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    slots.interrupt(lease, "stopped")

    again = slots.lease(OWNER, nonce="a")

    # A second attempt under the same nonce would be taken for the first.
    assert isinstance(again, Lease)
    assert again.attempt == 2


def test_several_leases_at_once_are_slots_of_their_own_with_a_trial_each(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    slots.report(lease, 1, 28.0, {})

    mine = slots.lease_many(OWNER, 3)
    others = slots.lease_many("node/pilot-1/2", 3)

    assert isinstance(mine, list)
    assert isinstance(others, list)
    together = [lease, *mine, *others]
    assert [each.position for each in together] == [0, 1, 2, 3, 4, 5]
    assert [each.trial for each in together] == [0, 1, 2, 3, 4, 5]
    assert len({each.trial_id for each in together}) == 6
    assert slots.lease_many(OWNER, 3) is NoSlot.WAIT


def test_the_canary_is_alone_however_many_are_asked_for(slots: SlotTable) -> None:
    leases = slots.lease_many(OWNER, 4)

    assert isinstance(leases, list)
    assert len(leases) == 1


def test_a_repeated_density_is_that_of_the_first_call(
    slots: SlotTable, storage: Storage, config: StudyConfig, lease: Lease
) -> None:
    train(slots, config, lease, 28.0)
    search = slots.lease(OWNER)
    assert isinstance(search, Lease)

    points = [
        slots.set_point(search, Point((value,)), {"note": value}) for value in (0.75, 0.75, 0.5)
    ]

    assert points == [Point((0.75,))] * 3
    trial = optuna_trials(storage)[1]
    assert trial.params == {"density_1": 0.75}
    assert trial.system_attrs == {"note": 0.75}


def test_a_repeated_report_of_an_epoch_changes_nothing(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    slots.report(lease, 1, 28.0, {"psnr_db": 28.0}, {"note": 1})
    slots.report(lease, 2, 29.0, {"psnr_db": 29.0})

    slots.report(lease, 1, 28.0, {"psnr_db": 28.0}, {"note": 1})
    slots.report(lease, 2, 29.0, {"psnr_db": 29.0})

    row = read_status(storage, "tiny").trials[0]
    assert (row.epoch, row.value, row.metrics) == (2, 29.0, {"psnr_db": 29.0})
    assert optuna_trials(storage)[0].intermediate_values == {1: 28.0, 2: 29.0}


def test_a_trial_that_is_completed_twice_is_complete_once(
    slots: SlotTable, storage: Storage, config: StudyConfig, lease: Lease
) -> None:
    train(slots, config, lease, 28.0)

    slots.complete(lease, {"test_psnr_db": 28.0}, {"host": "node"})

    assert attempts(storage) == ["complete"]
    assert optuna_trials(storage)[0].state is optuna.trial.TrialState.COMPLETE


def test_a_trial_that_is_pruned_twice_is_pruned_once(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    slots.report(lease, 1, 28.0, {})

    for _ in range(2):
        slots.prune(lease)

    assert attempts(storage) == ["pruned"]
    assert optuna_trials(storage)[0].state is optuna.trial.TrialState.PRUNED


def test_an_interruption_that_is_repeated_leaves_the_slot_to_the_next(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    slots.interrupt(lease, "stopped")
    slots.interrupt(lease, "stopped")
    heir = slots.lease("node/pilot-1/2")

    slots.interrupt(lease, "stopped")

    assert isinstance(heir, Lease)
    slots.heartbeat(heir)
    assert attempts(storage) == ["interrupted", "running"]


def test_a_break_that_is_repeated_counts_once(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    first = [slots.break_(lease, failure("Error0")) for _ in range(2)]
    states = []
    for number in (1, 2):
        again = slots.lease(OWNER)
        assert isinstance(again, Lease)
        states.append([slots.break_(again, failure(f"Error{number}")) for _ in range(2)])

    assert first == [SlotState.OPEN] * 2
    assert states == [[SlotState.OPEN] * 2, [SlotState.FAILED] * 2]
    assert attempts(storage) == ["broken"] * 3
    assert optuna_trials(storage)[0].user_attrs["failed"] == "Error2: no"


def test_another_end_than_the_one_recorded_is_no_repetition(
    slots: SlotTable, storage: Storage, config: StudyConfig, lease: Lease
) -> None:
    slots.interrupt(lease, "stopped")

    for end in (
        lambda: slots.complete(lease, {}, {}),
        lambda: slots.prune(lease),
        lambda: slots.break_(lease, failure()),
        lambda: slots.interrupt(lease, "something else"),
        lambda: slots.report(lease, 1, 28.0, {}),
    ):
        with pytest.raises(LeaseLost):
            end()


def test_an_attempt_that_was_given_up_by_others_was_not_ended_by_its_owner(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    expire_leases(storage)
    assert isinstance(slots.lease("node/pilot-1/2"), Lease)

    with pytest.raises(LeaseLost):
        slots.interrupt(lease, "stopped")


def test_what_ran_while_nobody_was_there_to_end_it_costs_no_time(
    slots: SlotTable, storage: Storage, lease: Lease
) -> None:
    expire_leases(storage)
    slots.lease("node/pilot-1/2")

    with storage.read() as connection:
        ended = connection.scalar(select(ATTEMPTS.c.ended_at).order_by(ATTEMPTS.c.id).limit(1))
    # With the lease, not when somebody noticed.
    assert ended == 1.0


def test_leases_that_ran_out_while_the_server_was_down_are_kept_for_a_lease(
    slots: SlotTable, storage: Storage, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_leases(storage)

    monkeypatch.setattr(storage, "up_since", lambda: storage.now() - LEASE_S / 2)
    just_started = slots.lease("node/pilot-1/2")
    monkeypatch.setattr(storage, "up_since", lambda: storage.now() - LEASE_S * 2)
    after_a_lease = slots.lease("node/pilot-1/2")

    assert just_started is NoSlot.WAIT
    assert isinstance(after_a_lease, Lease)
    assert after_a_lease.slot == lease.slot
