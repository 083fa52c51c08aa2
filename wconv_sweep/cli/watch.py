"""`status --watch`: the status again and again, on a terminal, as lines or as JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from sqlalchemy import URL

from wconv_sweep.cli.console import console
from wconv_sweep.cli.progress import ROWS, ChangePrinter, fitting
from wconv_sweep.cli.views.status import brief_view, print_status, status_view, statuses_json
from wconv_sweep.errors import StorageAway
from wconv_sweep.evidence.overview import StudyOverview, read_overviews
from wconv_sweep.evidence.study_status import StudyStatus, read_status, study_jobs
from wconv_sweep.slurm.jobs import SlurmView
from wconv_sweep.storage.open_storage import Storage, open_storage

LOOK_S = 2.0
"""Time between two looks at the database, seconds."""
SLURM_LOOK_S = 30.0
"""Time between two queries to SLURM while no pilot starts or ends, seconds: its controller
serves the whole site."""
SLURM_SOON_S = 5.0
"""Time between two of them while pilots do, seconds."""


Study = TypeVar("Study", bound=StudyOverview)


@dataclass(frozen=True)
class Picture(Generic[Study]):
    """Studies and their pilots in SLURM at one moment."""

    statuses: Sequence[Study] = ()
    jobs: Sequence[SlurmView | None] = ()

    @property
    def over(self) -> bool:
        """Whether all of them have ended, as far as they do by themselves."""
        return all(status.over for status in self.statuses)


class Screen(Protocol[Study]):
    """The output of a picture."""

    def read(self, storage: Storage, study: str | None) -> Sequence[Study]:
        """Read the shown part of one study, or of all."""

    def show(self, picture: Picture[Study]) -> None:
        """Show it in place of the previous one, or after it."""

    def away(self, since_s: float, why: str) -> None:
        """Show that the database has been away since then, seconds since 1970."""


def watch_studies(url: URL, study: str | None, screen: Screen[Study]) -> None:
    """Show studies until all of them have ended; a database that is away is waited for.

    Args:
        url: of the storage.
        study: its name; None watches all of the storage.
        screen: to show them on.

    Raises:
        StorageError: the storage cannot be used, or is away at the first picture.
        StudyError: it holds no such study.
    """
    storage = open_storage(url)
    try:
        for picture in _pictures(storage, study, screen):
            screen.show(picture)
            if picture.over:
                return
            time.sleep(LOOK_S)
    finally:
        storage.close()


def _pictures(
    storage: Storage, study: str | None, screen: Screen[Study]
) -> Iterator[Picture[Study]]:
    picture: Picture[Study] = Picture()
    asked: Picture[Study] = Picture()
    since_s, asked_s = None, -SLURM_LOOK_S
    while True:
        try:
            statuses = screen.read(storage, study)
        except StorageAway as error:
            if not picture.statuses:
                raise
            since_s = since_s or time.time()
            screen.away(since_s, str(error))
            time.sleep(LOOK_S)
            continue
        since_s, picture = None, Picture(statuses, picture.jobs)
        if _is_due(picture, asked, time.monotonic() - asked_s):
            picture = Picture(statuses, study_jobs(statuses))
            asked, asked_s = picture, time.monotonic()
        yield picture


def _is_due(now: Picture[Study], asked: Picture[Study], waited_s: float) -> bool:
    """Return whether SLURM is asked again.

    It is from time to time, sooner if agents have started or ended, or the screen would show
    trials at work beside pilots that wait, and for the last picture, which stays.
    """
    if [each.uid for each in now.statuses] != [each.uid for each in asked.statuses]:
        return True
    same = [each.agents for each in now.statuses] == [each.agents for each in asked.statuses]
    return now.over or waited_s >= (SLURM_LOOK_S if same else SLURM_SOON_S)


@contextmanager
def screen_of(command: Callable[[str], str], *, as_json: bool) -> Iterator[Screen[Any]]:
    """Give the screen that fits the output: a terminal, a file or pipe, or a script.

    Args:
        command: returns the one that shows a study in full.
        as_json: for a script.
    """
    out = console()
    if as_json:
        yield _JsonLines()
    elif out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            yield _Terminal(live, command)
    else:
        yield _Lines(out)


class _Terminal:
    """Draws over the previous picture, as much as fits."""

    def __init__(self, live: Live, command: Callable[[str], str]) -> None:
        self._live, self._command = live, command
        self._picture: Picture[StudyOverview] = Picture()

    def read(self, storage: Storage, study: str | None) -> Sequence[StudyOverview]:
        return read_overviews(storage, study)

    def show(self, picture: Picture[StudyOverview]) -> None:
        self._picture = picture
        # The last one stays, so it may be longer than the terminal.
        self._draw(self._drawn(None, tracebacks=True) if picture.over else self._fitting())

    def away(self, since_s: float, why: str) -> None:
        self._draw(self._fitting(Text(_away(since_s, why), "yellow")))

    def _draw(self, drawn: Group) -> None:
        self._live.update(drawn, refresh=True)

    def _fitting(self, *notes: Text) -> Group:
        """Leave out tracebacks, then rows of tables, until there are lines enough.

        What is wrong, and what is best, stays; of more studies than have room, the states alone.
        """
        return fitting(self._live.console, self._less_and_less(notes))

    def _less_and_less(self, notes: Sequence[Text]) -> Iterator[Group]:
        # Notes come first: a low terminal cuts the end.
        yield Group(*notes, self._drawn(None, tracebacks=True))
        for rows in ROWS:
            yield Group(*notes, self._drawn(rows, tracebacks=False))
        yield Group(*notes, *(brief_view(status) for status in self._picture.statuses))

    def _drawn(self, rows: int | None, *, tracebacks: bool) -> Group:
        parts: list[Group | Text] = []
        for status, jobs in zip(self._picture.statuses, self._picture.jobs, strict=True):
            parts.append(status_view(status, jobs, rows=rows, tracebacks=tracebacks))
            if not tracebacks and any(failure.traceback for failure in status.failures):
                parts.append(Text(f"tracebacks: {self._command(status.study)}", "red"))
        return Group(*parts)


class _Lines:
    """Prints the first picture, then a line for each change."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._studies: dict[str, ChangePrinter] = {}
        self._read: dict[str, tuple[object, StudyStatus]] = {}
        self._away_s: float | None = None

    def read(self, storage: Storage, study: str | None) -> Sequence[StudyStatus]:
        return [self._status(storage, each) for each in read_overviews(storage, study)]

    def _status(self, storage: Storage, now: StudyOverview) -> StudyStatus:
        """Read all trials, 0.3 s for 10,000, only if one has started, reported or ended."""
        rows = [(row.trial, row.attempt, row.epoch) for row in now.running]
        seen = now.word, now.counts, rows
        before, status = self._read.get(now.uid, (None, None))
        if status is None or before != seen:
            status = read_status(storage, now.study)
            self._read[now.uid] = seen, status
        return status

    def show(self, picture: Picture[StudyStatus]) -> None:
        if self._away_s is not None:
            self._out.print("the database is back")
            self._away_s = None
        for status, jobs in zip(picture.statuses, picture.jobs, strict=True):
            printer = self._studies.get(status.uid)
            if printer is None:
                print_status(self._out, [status], [jobs])
                self._studies[status.uid] = ChangePrinter(self._out, status)
            else:
                printer(status)
        self._out.file.flush()

    def away(self, since_s: float, why: str) -> None:
        if self._away_s is None:
            self._out.print(_away(since_s, why), markup=False, soft_wrap=True)
            self._out.file.flush()
        self._away_s = since_s


class _JsonLines:
    """Prints what `status --json` does, in one line for each change."""

    def __init__(self) -> None:
        self._shown: object = None

    def read(self, storage: Storage, study: str | None) -> Sequence[StudyOverview]:
        return read_overviews(storage, study)

    def show(self, picture: Picture[StudyOverview]) -> None:
        plain = statuses_json(picture.statuses, picture.jobs)
        # Values that grow with time alone are not a change.
        lasting = [
            {key: study[key] for key in study if key not in ("seconds_left", "gpu_hours")}
            for study in plain
        ]
        if lasting != self._shown:
            print(json.dumps(plain), flush=True)
        self._shown = lasting

    def away(self, since_s: float, why: str) -> None:
        if self._shown is not None:
            print(f"wconv-sweep: {_away(since_s, why)}", file=sys.stderr, flush=True)
        self._shown = None


def _away(since_s: float, why: str) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(since_s))
    return (
        f"no connection to the database since {clock}; this is the last known state. Next try "
        f"every {LOOK_S:g} s; pilots keep running meanwhile: {why}"
    )
