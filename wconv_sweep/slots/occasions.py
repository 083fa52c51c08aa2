"""What happens to a study that its user may want to be told: it ended, broke or reached its cap.

Many agents see the same; the database remembers which occasion has been taken, and by one of them.
"""

import enum
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from wconv_sweep.amounts import amount, density_text, title
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.slots.leases import study_row
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, StudyState

_TAKEN = "wconv:told:{}"


class Event(enum.StrEnum):
    """What has happened."""

    END = "end"
    """Every slot has ended."""
    BREAKER = "breaker"
    """The circuit breaker has stopped the study."""
    CAP = "cap"
    """The next trial would pass `budget.gpu_hours`, and nobody is at work."""


@dataclass(frozen=True)
class Occasion:
    """One event of one study."""

    event: Event
    study: str
    message: str
    """For a person, in a line."""


def occasion_of(status: StudyStatus, *, refused: bool = False) -> Occasion | None:
    """Return what there is to be told of a study as it stands.

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
    """Return True to one of all who ask about the same occasion, however often they ask.

    A study that was launched again and ends, breaks or reaches a higher cap once more makes a new
    occasion.

    Raises:
        StorageAway: the answer may have been lost, and then nobody gets it.
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
        return trial_rows.change_study_attribute(connection, row.optuna_study_id, key, which)


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
        named = status.confirmation.named
        density = "" if named is None else f"{density_text(named.density)}: "
        return f"{counts}; {density}{status.confirmation.claim}"
    if status.result is None:
        return f"{counts}; no trial has completed"
    metric, best = status.config.objective.metric, status.result.best
    return (
        f"{counts}; best density {density_text(best.density)}, {title(metric)} "
        f"{amount(metric, best.value)} (one run, not confirmed)"
    )
