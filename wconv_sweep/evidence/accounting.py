"""GPU-hours: those used, those expected, and whether the cap allows more.

A trial counts the GPUs that its ranks hold, or its part of one that several trials share; a pilot
all that it holds, working or not: that is what a site bills. The time of CPUs is not counted. Sums
are made by the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Row,
    ScalarSelect,
    Select,
    case,
    cast,
    func,
    select,
)

from wconv_sweep.storage.tables import ATTEMPTS, PILOTS, SLOTS, STUDIES, SlotState
from wconv_sweep.study.costly_keys import changes_cost

SILENCE_S = 300.0
"""A pilot without a heartbeat for so long is not expected to use any more, seconds."""
AGENT_GPU_HOURS = (
    PILOTS.c.gpus_total
    * (func.coalesce(PILOTS.c.ended_at, PILOTS.c.seen_at) - PILOTS.c.started_at)
    / 3600
)
"""Of all GPUs that an agent held, working or not, up to its last heartbeat; SQL."""


@dataclass(frozen=True)
class Usage:
    """GPU-hours of a study."""

    pilots_h: float
    """Of all pilots, up to their last heartbeat."""
    attempts_h: float
    """Of all attempts."""
    cap_h: float | None
    """`budget.gpu_hours`."""
    trial_h: float
    """Expected for a whole trial, with its share of the GPUs that no further trial could use; 0
    before the first epoch."""
    lanes: int
    """Trials that all GPUs of a pilot would hold side by side."""
    held_h: float
    """Expected of the pilots at work in the time of a whole trial, however many of their lanes
    have one; 0 before the first epoch."""
    running: int
    """Trials that agents hold."""
    running_h: float
    """Expected until they end."""
    longest: int
    """Remaining epochs of the one among them that was started last."""
    epochs: int
    """Of a whole trial."""

    @property
    def spent_h(self) -> float:
        """The hours used."""
        return max(self.pilots_h, self.attempts_h)

    @property
    def used_up(self) -> bool:
        """Whether no hour of the cap is left."""
        return self.cap_h is not None and self.spent_h >= self.cap_h

    @property
    def exhausted(self) -> bool:
        """Whether one more epoch of each running trial would pass the cap."""
        if self.cap_h is None:
            return False
        epoch_h = max(self.running * self.trial_h, self.held_h) / self.epochs
        return self.used_up or self.spent_h + epoch_h > self.cap_h

    def remaining_h(self, epoch: int) -> float:
        """Return what a trial is expected to use from an epoch on."""
        return self.trial_h * max(0, self.epochs - epoch) / self.epochs

    def allows(self, epoch: int) -> bool:
        """Return whether a trial that has finished so many epochs may be leased under the cap."""
        if self.cap_h is None:
            return True
        # Pilots hold all their GPUs until the last of their trials has ended.
        last = max(self.longest, self.epochs - epoch) / self.epochs
        rest_h = max(self.running_h + self.remaining_h(epoch), self.held_h * last)
        return not self.used_up and self.spent_h + rest_h <= self.cap_h

    @property
    def first_epoch_allowed(self) -> int:
        """The epoch from which on an open trial may be leased; more than all: none may."""
        if self.allows(0):
            return 0
        return next((epoch for epoch in range(1, self.epochs + 1) if self.allows(epoch)), 1 << 30)

    def with_leased(self, epoch: int) -> "Usage":
        """Return the usage with one more trial at work."""
        return replace(
            self,
            running=self.running + 1,
            running_h=self.running_h + self.remaining_h(epoch),
            longest=max(self.longest, self.epochs - epoch),
        )


UNLIMITED = Usage(
    pilots_h=0.0,
    attempts_h=0.0,
    cap_h=None,
    trial_h=0.0,
    lanes=1,
    held_h=0.0,
    running=0,
    running_h=0.0,
    longest=0,
    epochs=1,
)
"""Stands for the usage of a study without a cap."""


def usage_of(connection: Connection, now: ColumnElement[float], study: str) -> Usage:
    """Return what a study has used so far.

    A trial is expected to use the mean of those that have completed; before there is one, what the
    epochs so far have used, times their number. Where what is searched changes the costs, it is
    expected to use as much as the dearest so far.

    Args:
        connection: to the storage.
        now: the database's clock.
        study: its name.
    """
    config = connection.scalars(_config_of(study)).one()
    epochs, per_gpu = int(config["recipe"]["epochs"]), _per_gpu(config)
    hours = _hours(now, per_gpu)
    complete = SLOTS.c.state == SlotState.COMPLETE
    used = connection.execute(
        select(
            func.coalesce(func.sum(hours), 0.0).label("all"),
            func.coalesce(func.sum(case((complete, hours), else_=0.0)), 0.0).label("complete"),
            func.coalesce(func.max(ATTEMPTS.c.gpus_per_trial), 0).label("gpus"),
        )
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study)
    ).one()
    leased = SLOTS.c.state == SlotState.LEASED
    slots = connection.execute(
        select(
            func.coalesce(func.sum(case((complete, 1), else_=0)), 0).label("complete"),
            func.coalesce(func.sum(SLOTS.c.epoch), 0).label("epochs"),
            func.coalesce(func.sum(case((leased, 1), else_=0)), 0).label("running"),
            func.coalesce(func.sum(case((leased, SLOTS.c.epoch), else_=0)), 0).label("run"),
            func.coalesce(func.min(case((leased, SLOTS.c.epoch))), epochs).label("last"),
        ).where(SLOTS.c.study == study)
    ).one()
    at_work = case((is_at_work(now), PILOTS.c.gpus_total), else_=0)
    pilots = connection.execute(
        select(
            func.coalesce(func.sum(AGENT_GPU_HOURS), 0.0).label("hours"),
            func.coalesce(func.max(PILOTS.c.gpus_total), 0).label("total"),
            func.coalesce(func.sum(at_work), 0).label("held"),
        ).where(PILOTS.c.study == study)
    ).one()
    if slots.complete:
        trial_h = used.complete / slots.complete
    else:
        trial_h = used.all / slots.epochs * epochs if slots.epochs else 0.0
    if any(map(changes_cost, config["search"].get("also", ()))):
        trial_h = max(trial_h, _dearest_h(connection, hours, study))
    gpu_h = trial_h * per_gpu / used.gpus if used.gpus else 0.0
    lanes = per_gpu
    if used.gpus:
        # GPUs without a lane cost as much as those in use.
        shares = max(1, pilots.total // used.gpus)
        lanes = shares * per_gpu
        trial_h *= max(1.0, pilots.total / (shares * used.gpus))
    return Usage(
        pilots_h=float(pilots.hours),
        attempts_h=float(used.all),
        cap_h=config["budget"].get("gpu_hours"),
        trial_h=float(trial_h),
        lanes=lanes,
        held_h=float(gpu_h) * pilots.held,
        running=int(slots.running),
        running_h=float(trial_h) * (slots.running * epochs - slots.run) / epochs,
        longest=epochs - int(slots.last),
        epochs=epochs,
    )


def is_at_work(now: ColumnElement[float]) -> ColumnElement[bool]:
    """Return whether an agent has not ended and was heard of within `SILENCE_S`, as SQL.

    Args:
        now: the database's clock.
    """
    return PILOTS.c.ended_at.is_(None) & (PILOTS.c.seen_at > now - SILENCE_S)


def trial_gpu_hours(
    connection: Connection, now: ColumnElement[float], study: str
) -> dict[int, float]:
    """Return what the attempts of each slot have used together, by the slot's position."""
    hours = _hours(now, _per_gpu(connection.scalars(_config_of(study)).one()))
    rows = connection.execute(
        select(SLOTS.c.position, func.sum(hours).label("hours"))
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study)
        .group_by(SLOTS.c.position)
    )
    return {row.position: float(row.hours) for row in rows}


def slot_hours(
    connection: Connection, now: ColumnElement[float], study: str
) -> Sequence[Row[Any]]:
    """Return each slot of a study that was leased, with what its attempts have used together.

    The columns `gpu_hours` and `seconds` beside those of the slot that a cost depends on.
    """
    hours = _hours(now, _per_gpu(connection.scalars(_config_of(study)).one()))
    columns = (SLOTS.c.study, SLOTS.c.stage, SLOTS.c.state, SLOTS.c.epoch, SLOTS.c.provenance)
    return connection.execute(
        select(
            *columns,
            func.sum(hours).label("gpu_hours"),
            func.sum(_attempt_seconds(now)).label("seconds"),
        )
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study)
        .group_by(SLOTS.c.slot)
    ).all()


def slot_gpu_hours(connection: Connection, now: ColumnElement[float], slot: int) -> float:
    """Return what the attempts of one slot have used together."""
    study = select(SLOTS.c.study).where(SLOTS.c.slot == slot).scalar_subquery()
    per_gpu = _per_gpu(connection.scalars(_config_of(study)).one())
    hours = connection.scalar(
        select(func.sum(_hours(now, per_gpu)))
        .select_from(ATTEMPTS.join(SLOTS))
        .where(ATTEMPTS.c.slot == slot)
    )
    return float(hours or 0.0)


def spent_seconds(connection: Connection, now: ColumnElement[float], study: str) -> float:
    """Return the time of all attempts of a study together."""
    seconds = connection.scalar(
        select(func.sum(_attempt_seconds(now)))
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study)
    )
    return float(seconds or 0.0)


def _dearest_h(connection: Connection, hours: ColumnElement[float], study: str) -> float:
    """Return what the dearest trial has used that has completed, or runs and will use more."""
    counted = SLOTS.c.state.in_((SlotState.COMPLETE, SlotState.LEASED))
    each = (
        select(func.sum(hours).label("hours"))
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study, counted)
        .group_by(SLOTS.c.slot)
        .subquery()
    )
    return float(connection.scalar(select(func.max(each.c.hours))) or 0.0)


def _attempt_seconds(now: ColumnElement[float]) -> ColumnElement[float]:
    """Return how long an attempt took, as SQL over attempts joined with slots.

    One that has not ended yet lasts at most to the end of its lease: its agent may be dead.
    """
    lease_until = func.coalesce(SLOTS.c.lease_until, now)
    until = case((lease_until < now, lease_until), else_=now)
    return cast(func.coalesce(ATTEMPTS.c.ended_at, until) - ATTEMPTS.c.started_at, Float)


def _hours(now: ColumnElement[float], per_gpu: int) -> ColumnElement[float]:
    return cast(ATTEMPTS.c.gpus_per_trial * _attempt_seconds(now) / (3600 * per_gpu), Float)


def _config_of(study: str | ScalarSelect[str]) -> Select[tuple[dict[str, Any]]]:
    return select(STUDIES.c.config).where(STUDIES.c.study == study)


def _per_gpu(config: Mapping[str, Any]) -> int:
    """Return how many trials share a GPU, by their study's definition (`StudyConfig.plain`)."""
    return int(config["trial"].get("per_gpu", 1))
