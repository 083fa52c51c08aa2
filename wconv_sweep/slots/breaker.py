"""The circuit breaker: equal failures stop a study before they use up its budget."""

from sqlalchemy import Connection, Row, func, select, update

from wconv_jobs.errors import TrainingDiverged
from wconv_jobs.messages import Broken
from wconv_sweep.storage.tables import (
    ATTEMPTS,
    SLOTS,
    STUDIES,
    AttemptOutcome,
    SlotState,
    StudyState,
)

DIVERGED = TrainingDiverged.__name__


def is_hopeless(failure: Broken) -> bool:
    """Return whether all trials of the study would break in this way, however often tried."""
    return failure.final and failure.error != DIVERGED


def maybe_break(
    connection: Connection, study: Row[tuple[object, ...]], failure: Broken, limit: int
) -> None:
    """Break the study if a failure, whose attempt is closed, was one too many.

    Args:
        connection: in a transaction that has locked the study.
        study: its row.
        failure: how the attempt ended.
        limit: number of equal failures that breaks the study.
    """
    completed = connection.scalar(
        select(func.count()).where(
            SLOTS.c.study == study.study, SLOTS.c.state == SlotState.COMPLETE
        )
    )
    if failure.error == DIVERGED and completed:
        return
    # Once the study has shown that it works, one bad slot must not stop it.
    what = ATTEMPTS.c.slot.distinct() if completed else ATTEMPTS.c.id
    equal = connection.scalar(
        select(func.count(what))
        .select_from(ATTEMPTS.join(SLOTS))
        .where(
            SLOTS.c.study == study.study,
            ATTEMPTS.c.id > study.breaker_from,
            ATTEMPTS.c.outcome == AttemptOutcome.BROKEN,
            ATTEMPTS.c.error == failure.error,
            ATTEMPTS.c.where == failure.where,
        )
    )
    if study.state != StudyState.ACTIVE or (not is_hopeless(failure) and (equal or 0) < limit):
        return
    number = f"{equal} equal failures" if equal and equal > 1 else "a failure"
    said = failure.reason.rstrip(".")
    reason = f"{number}: {failure.error} at {failure.where}: {said}"
    connection.execute(
        update(STUDIES)
        .where(STUDIES.c.study == study.study)
        .values(state=StudyState.BROKEN, reason=reason)
    )
