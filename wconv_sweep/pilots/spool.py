"""Hands the messages of ranks to the storage in order; keeps them on disk while it is away.

A spool is a file of JSON lines in the run folder: the claim, then the messages of its ranks, each
with what was decided on it. It exists only while messages remain to be written.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from wconv_jobs.messages import Broken, Finished, Report
from wconv_sweep.errors import StorageAway
from wconv_sweep.log import event
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.leases import Claim, LeaseLost
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.storage.tables import SlotState, StudyState

logger = logging.getLogger(__name__)

_CLAIM: TypeAdapter[Claim] = TypeAdapter(Claim)

STOPPED = "stopped at a checkpoint"

Told = Report | Finished | Broken


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    message: Annotated[Told, Field(discriminator="kind")]
    attributes: dict[str, Any]


class Spool:
    """The messages of one attempt on their way to the storage."""

    def __init__(self, slots: SlotTable, claim: Claim, metric: str, folder: RunFolder) -> None:
        """
        Args:
            slots: gets the messages.
            claim: the attempt.
            metric: the objective, among the metrics of a report.
            folder: of the study.
        """
        self._slots, self._claim, self._metric = slots, claim, metric
        self._path = folder.spools / f"slot_{claim.slot}_attempt_{claim.attempt}.jsonl"
        self._pending: list[_Entry] = []

    @property
    def is_empty(self) -> bool:
        """Whether the storage has everything."""
        return not self._pending

    def put(
        self, message: Told, attributes: Mapping[str, Any] | None = None
    ) -> StudyState | SlotState | None:
        """Hand a message to the storage, after the waiting ones.

        Args:
            message: of rank 0, or of the agent in its place.
            attributes: to be recorded with a report, see `wconv_sweep.search.pruning`.

        Returns:
            What the storage answered: see `SlotTable.report` and `SlotTable.break_`.

        Raises:
            StorageAway: it waits now; `flush` tries again.
            LeaseLost: the slot was given to another worker; nothing was written.
        """
        self._pending.append(_Entry(message=message, attributes=dict(attributes or {})))
        try:
            return self.flush()
        except StorageAway:
            self._keep()
            raise

    def hold(self, message: Told, attributes: Mapping[str, Any] | None = None) -> None:
        """Let a message wait without a try, which may be slow."""
        self._pending.append(_Entry(message=message, attributes=dict(attributes or {})))
        self._keep()

    def flush(self) -> StudyState | SlotState | None:
        """Hand over the waiting messages; see `put`."""
        answer: StudyState | SlotState | None = None
        while self._pending:
            answer = _tell(self._slots, self._claim, self._pending[0], self._metric)
            del self._pending[0]
        self.discard()
        return answer

    def discard(self) -> None:
        """Drop the waiting messages."""
        self._pending.clear()
        self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        """Write the waiting messages to disk: the agent may end before the storage is back."""
        lines = [_CLAIM.dump_json(self._claim).decode()]
        lines += [entry.model_dump_json() for entry in self._pending]
        unfinished = self._path.with_suffix(".unfinished")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
        except OSError as error:
            # It stays in memory, and is lost only if this process ends before the storage is back.
            logger.warning(event("reports not kept on disk", path=self._path, error=error))


def adopt(slots: SlotTable, claim: Claim, metric: str, folder: RunFolder) -> Claim:
    """Report, in the claim's name, the unreported messages of earlier attempts at its slot.

    Their lease may run out between a look at their spools and a claim. Their epochs are in the
    checkpoint that the claim continues from, so no one would report them again.

    Args:
        slots: of the study.
        claim: that has not been trained yet.
        metric: the objective.
        folder: of the study.

    Returns:
        The claim, with the epochs that are reported now.

    Raises:
        StorageAway: repeat it; what has been reported stays so.
        LeaseLost: the slot was given to another worker.
    """
    spools = [
        (path, read[1])
        for path in folder.spools.glob(f"slot_{claim.slot}_attempt_*.jsonl")
        if (read := _read(path)) is not None and read[0].attempt < claim.attempt
    ]
    reported = {
        entry.message.epoch: entry
        for _, entries in spools
        for entry in entries
        if isinstance(entry.message, Report)
    }
    for _, entry in sorted(reported.items()):
        _tell(slots, claim, entry, metric)
    for path, _ in spools:
        path.unlink(missing_ok=True)
    return replace(claim, epoch=max([claim.epoch, *reported]))


def replay(
    slots: SlotTable,
    metric: str,
    folder: RunFolder,
    *,
    is_dead: Callable[[str], bool],
    own: str | None = None,
) -> int:
    """Hand over the messages of dead agents of the study; return the number of attempts.

    Slots that have not ended are handed back, to continue from their checkpoints. The spool of an
    attempt that has lost its slot is left to the next one, see `adopt`, and dropped once the slot
    has got as far.

    Args:
        slots: of the study.
        metric: the objective.
        folder: of the study.
        is_dead: tells whether the caller knows of an owner that it is dead; others are taken to
            be once their leases have run out.
        own: start of the caller's own owner names, whose attempts report on their own.

    Raises:
        StorageAway: repeat it; what has been handed over stays so.
    """
    replayed = 0
    for path in sorted(folder.spools.glob("*.jsonl")):
        read = _read(path)
        if read is None:
            continue
        claim, entries = read
        if own is not None and claim.owner.startswith(own):
            continue
        epochs = [entry.message.epoch for entry in entries if isinstance(entry.message, Report)]
        if slots.is_outdated(claim, max([0, *epochs])):
            logger.info(event("outdated spool dropped", path=path))
            path.unlink(missing_ok=True)
            continue
        if not is_dead(claim.owner) and not slots.is_abandoned(claim):
            continue
        try:
            for entry in entries:
                _tell(slots, claim, entry, metric)
            if all(isinstance(entry.message, Report) for entry in entries):
                slots.interrupt(claim, "its pilot died")
        except LeaseLost:
            continue
        replayed += 1
        path.unlink(missing_ok=True)
    return replayed


def _tell(
    slots: SlotTable, claim: Claim, entry: _Entry, metric: str
) -> StudyState | SlotState | None:
    message = entry.message
    if isinstance(message, Report):
        value = message.metrics[metric]
        return slots.report(claim, message.epoch, value, message.metrics, entry.attributes)
    if isinstance(message, Broken):
        return slots.break_(claim, message)
    if message.ending == "complete":
        slots.complete(claim, message.metrics, message.provenance)
    elif message.ending == "pruned":
        slots.prune(claim)
    else:
        slots.interrupt(claim, STOPPED)
    return None


def _read(path: Path) -> tuple[Claim, list[_Entry]] | None:
    """Return the content of a spool; None if it has just been handed over, or holds no claim."""
    try:
        first, *rest = path.read_bytes().split(b"\n")
        claim = _CLAIM.validate_json(first)
    except (FileNotFoundError, ValidationError):
        return None
    entries: list[_Entry] = []
    for line in rest:
        try:
            entries.append(_Entry.model_validate_json(line))
        except ValidationError:
            break  # the end, or a line cut off by a full disk
    return claim, entries
