"""Slots and attempts row by row, inside a transaction of the slot table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Update, and_, case, func, select, update

from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, STUDIES, AttemptOutcome, SlotState, Stage
from wconv_sweep.study.point import Point, SearchArm


class LeaseLost(Exception):
    """The slot was given to another worker; the trial must end without a trace."""


@dataclass(frozen=True)
class Lease:
    """A worker's right to one slot."""

    slot: int
    position: int
    """Place of the slot in its study, from 0."""
    attempt: int
    owner: str
    trial_id: int
    trial: int
    stage: Stage
    label: str | None
    arm: SearchArm | None
    point: Point | None
    """None for a search slot that has not been sampled yet."""
    replicate: int
    epoch: int
    """Epochs that earlier attempts have reported."""


def lease_of(row: Row[Any]) -> Lease:
    """Return the right that the row of a leased slot describes."""
    return Lease(
        slot=row.slot,
        position=row.position,
        attempt=row.attempt,
        owner=row.owner,
        trial_id=row.trial_id,
        trial=row.trial,
        stage=Stage(row.stage),
        label=row.label,
        arm=SearchArm(row.arm) if row.arm else None,
        point=row.point,
        replicate=row.replicate,
        epoch=row.epoch,
    )


def is_of(lease: Lease) -> ColumnElement[bool]:
    """Return the condition that a lease still holds its slot."""
    return and_(
        SLOTS.c.slot == lease.slot,
        SLOTS.c.attempt == lease.attempt,
        SLOTS.c.owner == lease.owner,
        SLOTS.c.state == SlotState.LEASED,
    )


def ran_out(storage: Storage, lease_s: float) -> ColumnElement[bool]:
    """Return the condition that a slot's lease was not renewed although it could have been.

    While the database itself was away, no one could: after its start everyone gets a whole lease
    to come back.
    """
    over = and_(SLOTS.c.state == SlotState.LEASED, SLOTS.c.lease_until < storage.now())
    up_since = storage.up_since()
    return over if up_since is None else and_(over, up_since + lease_s < storage.now())


def renew(connection: Connection, storage: Storage, lease: Lease, lease_s: float) -> Row[Any]:
    """Renew a lease, and return its slot.

    Raises:
        LeaseLost: the lease no longer holds its slot.
    """
    renewed = connection.execute(
        update(SLOTS)
        .where(is_of(lease))
        .values(lease_until=storage.now() + lease_s)
        .returning(*SLOTS.c)
    ).one_or_none()
    if renewed is None:
        raise LeaseLost(f"slot {lease.slot}, attempt {lease.attempt}")
    return renewed


def study_row(connection: Connection, study: str, *, lock: bool = False) -> Row[Any]:
    """Return the row of a study that exists; locked to the end of the transaction if wanted.

    A transaction that touches more than its own slot locks the study, and does it first: whoever
    waits for this lock holds no other, so no two transactions wait for each other.
    """
    wanted = _locked if lock else select(STUDIES)
    return connection.execute(wanted.where(STUDIES.c.study == study)).one()


def lock_study(connection: Connection, study: str) -> bool:
    """Lock a study as `study_row` does; return False if it does not exist."""
    return connection.execute(_locked.where(STUDIES.c.study == study)).one_or_none() is not None


# The key is not locked: PostgreSQL checks that again for each slot that a transaction changes
# twice, so the end of a trial would wait for every new lease.
_locked = select(STUDIES).with_for_update(key_share=True)


def interrupt_all_of(
    storage: Storage,
    study: str,
    owner_prefix: str,
    reason: str,
    *,
    but: Callable[[str], bool] = lambda owner: False,
) -> int:
    """Hand back the slots of dead workers whose owner starts with `owner_prefix`; return how many.

    Args:
        storage: holds the study.
        study: its name.
        owner_prefix: of the workers.
        reason: why they are dead.
        but: returns whether an owner with this prefix is alive.
    """
    with storage.write() as connection:
        study_row(connection, study, lock=True)
        rows = connection.execute(
            select(SLOTS.c.slot, SLOTS.c.attempt, SLOTS.c.owner)
            .where(
                SLOTS.c.study == study,
                SLOTS.c.state == SlotState.LEASED,
                SLOTS.c.owner.startswith(owner_prefix, autoescape=True),
            )
            .order_by(SLOTS.c.slot)
            .with_for_update()
        ).all()
        dead = [row for row in rows if not but(row.owner)]
        for row in dead:
            reopen(connection, storage, row.slot, row.attempt, reason)
        return len(dead)


def reopen(connection: Connection, storage: Storage, slot: int, attempt: int, reason: str) -> None:
    """Hand a slot back whose attempt was interrupted."""
    outcome = AttemptOutcome.INTERRUPTED
    close_attempt(connection, storage, slot, attempt, outcome, reason=reason)
    set_state(connection, slot, SlotState.OPEN)


def set_state(connection: Connection, slot: int, state: SlotState, **values: object) -> None:
    """Release a slot from its holder."""
    connection.execute(leaving(slot, state, **values))


def leaving(slot: int, state: SlotState, **values: object) -> Update:
    """Return the change that releases a slot from its holder."""
    return (
        update(SLOTS)
        .where(SLOTS.c.slot == slot)
        .values({"state": state, "owner": None, "lease_until": None} | values)
    )


def close_attempt(
    connection: Connection,
    storage: Storage,
    slot: int,
    attempt: int,
    outcome: AttemptOutcome,
    **values: str,
) -> None:
    """Record the end of an attempt, before its slot goes to another.

    It ends now, or with its lease if that has expired: time without work costs nothing.
    """
    now = storage.now()
    held_until = select(SLOTS.c.lease_until).where(SLOTS.c.slot == slot).scalar_subquery()
    lease_until = func.coalesce(held_until, now)
    ended_at = case((lease_until < now, lease_until), else_=now)
    connection.execute(closing(slot, attempt, outcome, ended_at, **values))


def closing(
    slot: int,
    attempt: int,
    outcome: AttemptOutcome,
    ended_at: ColumnElement[float],
    **values: object,
) -> Update:
    """Return the change that records how and when an attempt ended."""
    return (
        update(ATTEMPTS)
        .where(ATTEMPTS.c.slot == slot, ATTEMPTS.c.attempt == attempt)
        .values({"outcome": outcome, "ended_at": ended_at} | values)
    )


def has_ended(connection: Connection, lease: Lease, outcome: AttemptOutcome, **equal: str) -> bool:
    """Return whether the lease's own attempt has ended in this very way.

    Then a transaction whose answer was lost is being repeated.
    """
    row = connection.execute(
        select(ATTEMPTS).where(
            ATTEMPTS.c.slot == lease.slot,
            ATTEMPTS.c.attempt == lease.attempt,
            ATTEMPTS.c.owner == lease.owner,
            ATTEMPTS.c.outcome == outcome,
        )
    ).one_or_none()
    return row is not None and all(
        row._mapping[column] == value for column, value in equal.items()
    )
