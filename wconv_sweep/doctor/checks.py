"""The outcome of a check, and how checks run so that one failure does not stop the others."""

import enum
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from wconv_sweep.errors import WconvSweepError

LIMIT_S = 60.0
"""Time for an area: a hanging file system or server never answers."""


class Mark(enum.StrEnum):
    """The outcome of a check."""

    RIGHT = "right"
    WRONG = "wrong"
    WARNING = "warning"
    """May go wrong, or is unknown."""
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    mark: Mark
    what: str
    """What was checked and found, in a line."""
    remedy: str = ""
    """What to do, or why it was not checked; empty if all is right."""


@dataclass(frozen=True)
class Area:
    """Checks that belong together, run one after the other."""

    name: str
    checks: Callable[[], Iterable[Check]]
    limit_s: float | None = LIMIT_S
    """Time for all of them; None: they have limits of their own, and run in this thread, so
    that Ctrl-C reaches them."""


def right(what: str) -> Check:
    return Check(Mark.RIGHT, what)


def wrong(what: str, remedy: str) -> Check:
    return Check(Mark.WRONG, what, remedy)


def warning(what: str, remedy: str) -> Check:
    return Check(Mark.WARNING, what, remedy)


def skipped(what: str, why: str) -> Check:
    return Check(Mark.SKIPPED, what, why)


def examine(areas: Sequence[Area]) -> Iterator[tuple[str, Check]]:
    """Yield (name of the area, check) one by one; an exception of an area is also a check."""
    for area in areas:
        made = _caught(area) if area.limit_s is None else _limited(area, area.limit_s)
        for check in made:
            yield area.name, check


def _caught(area: Area) -> Iterator[Check]:
    try:
        yield from area.checks()
    except WconvSweepError as error:
        yield wrong(f"{area.name}: could not be checked", str(error))
    except Exception as error:
        # A check that fails in an unforeseen way must not hide the others.
        said = " ".join(str(error).split())
        yield wrong(f"{area.name}: could not be checked", f"{type(error).__name__}: {said}")


def _limited(area: Area, limit_s: float) -> Iterator[Check]:
    found: queue.SimpleQueue[Check | None] = queue.SimpleQueue()

    def make() -> None:
        for check in _caught(area):
            found.put(check)
        found.put(None)

    # Not waited for if it hangs, nor at the end of the program.
    threading.Thread(target=make, name=area.name, daemon=True).start()
    deadline = time.monotonic() + limit_s
    while True:
        try:
            check = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield wrong(
                f"{area.name}: no answer within {limit_s:g} s",
                "A file system, a server or a command hangs. Try again, or ask the site.",
            )
            return
        if check is None:
            return
        yield check
