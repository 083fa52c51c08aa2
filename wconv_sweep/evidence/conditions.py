"""What the time of a run depends on beside its network: machine, ranks, and its neighbors."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Float, Row, cast, func, select

from wconv_jobs.messages import STEADY_EPOCHS
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, SlotState

_ENDED_AT = cast(func.coalesce(ATTEMPTS.c.ended_at, SLOTS.c.lease_until), Float)
"""Of an attempt that still runs, when it would count as dead."""

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    *(SLOTS.c.position, ATTEMPTS.c.id, ATTEMPTS.c.started_at),
    ATTEMPTS.c.provenance.label("origin"),
    SLOTS.c.provenance.label("result"),
    _ENDED_AT.label("ended_at"),
)


@dataclass(frozen=True)
class Conditions:
    """Under which a run was timed; times of equal conditions can be compared."""

    host: str
    device: str
    torch: str
    ranks: str
    threads: str
    """Of each rank."""
    side_by_side: int
    """Trials at once on its host, itself included: their mean over its time, rounded."""


def read_conditions(
    storage: Storage, study: str, positions: Collection[int]
) -> dict[int, Conditions]:
    """Return the conditions of completed runs by the position of their slot.

    Left out are those with attempts on several hosts, and those whose time is not that of whole
    epochs after the first of an attempt, as of earlier versions.
    """
    attempts = select(*_COLUMNS).select_from(ATTEMPTS.join(SLOTS)).order_by(ATTEMPTS.c.id)
    own = (
        SLOTS.c.study == study,
        SLOTS.c.state == SlotState.COMPLETE,
        SLOTS.c.position.in_(positions),
    )
    with storage.read() as connection:
        mine = connection.execute(attempts.where(*own)).all()
        if not mine:
            return {}
        # Of all studies: they share the hosts.
        neighbors = connection.execute(
            attempts.where(
                ATTEMPTS.c.started_at < max(row.ended_at for row in mine),
                min(row.started_at for row in mine) < _ENDED_AT,
            )
        ).all()
    by_host: dict[str | None, list[Row[Any]]] = defaultdict(list)
    for row in neighbors:
        by_host[_host(row)].append(row)
    runs: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in mine:
        runs[row.position].append(row)
    found = {position: _conditions(rows, by_host) for position, rows in runs.items()}
    return {position: each for position, each in found.items() if each is not None}


def _conditions(
    run: list[Row[Any]], by_host: dict[str | None, list[Row[Any]]]
) -> Conditions | None:
    result = run[0].result or {}
    hosts = {_host(row) for row in run}
    host = hosts.pop()
    if hosts or host is None or int(result.get(STEADY_EPOCHS, 0)) == 0:
        return None
    return Conditions(
        host=host,
        device=result.get("device", ""),
        torch=result.get("torch", ""),
        ranks=result.get("ranks", ""),
        threads=result.get("threads", ""),
        side_by_side=_side_by_side(run, by_host[host]),
    )


def _side_by_side(run: list[Row[Any]], neighbors: list[Row[Any]]) -> int:
    own = {row.id for row in run}
    took_s = sum(row.ended_at - row.started_at for row in run)
    shared_s = sum(
        max(0.0, min(row.ended_at, other.ended_at) - max(row.started_at, other.started_at))
        for row in run
        for other in neighbors
        if other.id not in own
    )
    return 1 + (round(shared_s / took_s) if took_s else 0)


def _host(row: Row[Any]) -> str | None:
    return (row.origin or {}).get("host")
