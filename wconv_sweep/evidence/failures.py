"""The causes of broken trials."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, AttemptOutcome


@dataclass(frozen=True)
class Failure:
    """Broken attempts with the same cause."""

    error: str
    where: str
    count: int
    reason: str
    traceback: str
    """Of the first of them."""


def failures_of(connection: Connection, study: str) -> list[Failure]:
    """Return the causes of a study's broken attempts, the most frequent first."""
    groups = connection.execute(
        select(
            ATTEMPTS.c.error,
            ATTEMPTS.c.where,
            func.count().label("number"),
            func.min(ATTEMPTS.c.id).label("first"),
        )
        .select_from(ATTEMPTS.join(SLOTS))
        .where(SLOTS.c.study == study, ATTEMPTS.c.outcome == AttemptOutcome.BROKEN)
        .group_by(ATTEMPTS.c.error, ATTEMPTS.c.where)
        .order_by(func.count().desc())
    ).all()
    if not groups:
        return []
    firsts = {
        first.id: first
        for first in connection.execute(
            select(ATTEMPTS).where(ATTEMPTS.c.id.in_([group.first for group in groups]))
        )
    }
    return [
        Failure(
            error=group.error,
            where=group.where,
            count=group.number,
            reason=firsts[group.first].reason,
            traceback=firsts[group.first].traceback,
        )
        for group in groups
    ]
