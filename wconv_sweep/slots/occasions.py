"""Events of a study that are worth a notification: it ended, broke or reached its cap.

Many agents see the same; the database records which one of them takes an occasion.
"""

import enum
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from wconv_sweep.amounts import amount, density_text, title
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.slots.leases import study_row
from wconv_sweep.storage import study_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, StudyState

_TAKEN = "wconv:told:{}"


class Event(enum.StrEnum):
    """The kind of event."""

    END = "end"
    """Every slot has ended."""
    BREAKER = "breaker"
    """The circuit breaker has stopped the study."""
    CAP = "cap"
    """The next trial would pass `budget.gpu_hours`, and no pilot is running."""


@dataclass(frozen=True)
class Occasion:
    """One event of one study."""

    event: Event
    study: str
    message: str
    """The message, in a line."""


def occasion_of(status: StudyStatus, *, refused: bool = False) -> Occasion | None:
    """Return the notifications that are due for a study in its current state.

    Args:
        status: of the study.
        refused: whether an agent was refused a slot because of the cap just now. Once it has ended
            and its GPUs are expected to cost nothing more, the sum may look different.
    """
    if status.state is StudyState.BROKEN:
        why = status.reason or "equal failures"
        text = f"study {status.study} was stopped by its circuit breaker: {' '.join(why.split())}"
        return Occasion(Event.BREAKER, status.study, text)
    if status.complete:
        return Occasion(Event.END, status.study, f"study {status.study} has ended: {_end(status)}")
    if status.capped or (refused and not status.running):
        usage = status.usage
        text = (
            f"study {status.study} has used {usage.spent_h:.2f} of {usage.cap_h:g} GPU-hours, and "
            f"the next trial would pass the limit: {status.budget - status.ended} trials are left"
        )
        return Occasion(Event.CAP, status.study, text)
    return None


def take(storage: Storage, occasion: Occasion) -> bool:
    """Return True to only one of all callers for the same occasion.

    A study that was launched again and ends, breaks or reaches a higher cap makes a new
    occasion.

    Raises:
        StorageAway: the answer may have been lost, and then no one gets it.
    """
    with storage.write() as connection:
        row = study_row(connection, occasion.study, lock=True)
        if occasion.event is Event.BREAKER:
            which: object = row.breaker_from
        elif occasion.event is Event.CAP:
            which = row.config["budget"]["gpu_hours"]
        else:
            which = _newest_attempt(connection, occasion.study)
        key = _TAKEN.format(occasion.event)
        return study_rows.change_study_attribute(connection, row.optuna_study_id, key, which)


def _newest_attempt(connection: Connection, study: str) -> int:
    newest = connection.scalar(
        select(func.max(ATTEMPTS.c.id))
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study)
    )
    return newest or 0


def _end(status: StudyStatus) -> str:
    counts = ", ".join(f"{number} {state}" for state, number in status.counts.items() if number)
    if status.confirmation is not None:
        selected = status.confirmation.selected
        density = (
            "" if selected is None else f"{density_text(selected.density, selected.settings)}: "
        )
        return f"{counts}; {density}{status.confirmation.claim}"
    if status.result is None:
        return f"{counts}; no trial has completed"
    objective, best = status.config.objective, status.result.best
    metric = objective.metric
    return (
        f"{counts}; best density {density_text(best.density, best.settings)}, {title(metric)} "
        f"{amount(metric, best.value, objective.unit)} (one run, not confirmed)"
    )
