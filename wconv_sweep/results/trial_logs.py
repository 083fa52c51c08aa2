"""Finds the output of a trial's ranks by the number of the trial, wherever they ran."""

import codecs
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row, select

from wconv_sweep.errors import StudyError
from wconv_sweep.slots import definitions
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import find_study
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, AttemptOutcome

POLL_S = 0.5
"""Time between two polls of followed files, seconds."""


@dataclass(frozen=True)
class AttemptLog:
    """One attempt at a trial, and the folder of its output."""

    trial: int
    attempt: int
    outcome: AttemptOutcome
    owner: str
    """Host, pilot and process of the agent."""
    folder: Path
    traceback: str | None
    """Of a broken attempt."""

    def files(self, rank: int) -> list[Path]:
        """Return the output files of a rank, stdout first; none before it has started.

        Raises:
            StudyError: the attempt has output, but of other ranks.
        """
        found = self._files_by_rank()
        if found and rank not in found:
            known = ", ".join(str(number) for number in sorted(found))
            raise StudyError(
                f"--rank {rank}: attempt {self.attempt} of trial {self.trial} has no output of "
                f"this rank. Choose one of {known}."
            )
        return sorted(found.get(rank, []), key=lambda path: path.name, reverse=True)

    def _files_by_rank(self) -> dict[int, list[Path]]:
        """Each node counts its ranks from 0, those of node n lie in `node_n`; n = 0 has none."""
        places = [
            (path, self._node_of(path), int(path.parent.name))
            for path in self.folder.rglob("std*.log")
            if path.parent.name.isdigit()
        ]
        per_node = 1 + max((local for _, _, local in places), default=0)
        found: dict[int, list[Path]] = {}
        for path, node, local in places:
            found.setdefault(node * per_node + local, []).append(path)
        return found

    def _node_of(self, path: Path) -> int:
        first = path.relative_to(self.folder).parts[0]
        return int(first.removeprefix("node_")) if first.startswith("node_") else 0


def attempts_of(storage: Storage, study: str, trial: int) -> list[AttemptLog]:
    """Return all attempts at a trial, the first one first.

    Raises:
        StudyError: there is no such study or trial, or it has not started.
    """
    with storage.read() as connection:
        find_study(connection, storage, study)
        rows = connection.execute(
            select(ATTEMPTS, SLOTS.c.trial)
            .select_from(ATTEMPTS.join(SLOTS))
            .where(SLOTS.c.study == study, SLOTS.c.trial == trial)
            .order_by(ATTEMPTS.c.attempt)
        ).all()
        last = connection.scalar(
            select(SLOTS.c.trial)
            .where(SLOTS.c.study == study, SLOTS.c.trial.is_not(None))
            .order_by(SLOTS.c.trial.desc())
            .limit(1)
        )
    if not rows:
        begun = "none has started yet" if last is None else f"the started trials are 0 to {last}"
        raise StudyError(f"trial {trial}: study {study} has no such trial; {begun}.")
    folder = definitions.study_place(storage, study).folder
    return [_log(row, folder.attempt_logs(trial, row.attempt)) for row in rows]


def select_attempt(attempts: Sequence[AttemptLog], wanted: int | None) -> AttemptLog:
    """Return one of the attempts; by default the last one.

    Raises:
        StudyError: there is no such attempt.
    """
    if wanted is None:
        return attempts[-1]
    found = next((log for log in attempts if log.attempt == wanted), None)
    if found is None:
        raise StudyError(
            f"--attempt {wanted}: trial {attempts[0].trial} has no such attempt. Choose one of "
            f"{', '.join(str(log.attempt) for log in attempts)}."
        )
    return found


def text_of(log: AttemptLog, rank: int) -> Iterator[str]:
    """Yield the output of a rank so far, then the traceback of a broken attempt."""
    for path in log.files(rank):
        yield path.read_text("utf-8", "replace")
    if log.traceback:
        yield log.traceback


def follow(
    log: AttemptLog,
    rank: int,
    refresh: Callable[[], AttemptLog],
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[str]:
    """Yield the output of a rank as it comes, until its attempt has ended.

    Args:
        log: the attempt.
        rank: of it.
        refresh: returns the current state of the attempt.
        wait: lets some seconds pass.
    """
    tails: dict[Path, _Tail] = {}
    while True:
        # In this order: what was printed before the attempt ended is read after it.
        now = refresh()
        for path in log.files(rank):
            yield from tails.setdefault(path, _Tail(path)).new_text()
        if now.outcome is not AttemptOutcome.RUNNING:
            if now.traceback:
                yield now.traceback
            return
        wait(POLL_S)


class _Tail:
    """A file that grows, as text; a character may arrive in two pieces."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def new_text(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        self._position += len(new)
        if new:
            yield self._decoder.decode(new)


def _log(row: Row[tuple[object, ...]], folder: Path) -> AttemptLog:
    return AttemptLog(
        trial=row.trial,
        attempt=row.attempt,
        outcome=AttemptOutcome(row.outcome),
        owner=row.owner,
        folder=folder,
        traceback=row.traceback,
    )
