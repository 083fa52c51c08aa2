"""Hands the messages of ranks to the storage in order; keeps them on disk while it is away.

A spool is a file of JSON lines in the run folder: the lease, then the messages of its ranks, each
with what was decided on it. It exists only while messages remain to be written.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from wconv_jobs.files.atomic import replace_file
from wconv_jobs.messages import Broken, Finished, Report
from wconv_sweep.errors import StorageAway
from wconv_sweep.log import event
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.leases import Lease, LeaseLost
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.storage.tables import SlotState, StudyState

logger = logging.getLogger(__name__)

_LEASE: TypeAdapter[Lease] = TypeAdapter(Lease)

STOPPED = "stopped at a checkpoint"

Told = Report | Finished | Broken


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    message: Annotated[Told, Field(discriminator="kind")]
    attributes: dict[str, Any]


class Spool:
    """The messages of one attempt on their way to the storage."""

    def __init__(self, slots: SlotTable, lease: Lease, metric: str, folder: RunFolder) -> None:
        """
        Args:
            slots: gets the messages.
            lease: the attempt.
            metric: the objective, among the metrics of a report.
            folder: of the study.
        """
        self._slots, self._lease, self._metric = slots, lease, metric
        self._path = folder.spools / f"slot_{lease.slot}_attempt_{lease.attempt}.jsonl"
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
            answer = _tell(self._slots, self._lease, self._pending[0], self._metric)
            del self._pending[0]
        self.discard()
        return answer

    def discard(self) -> None:
        """Drop the waiting messages."""
        self._pending.clear()
        self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        """Write the waiting messages to disk: the agent may end before the storage is back."""
        lines = [_LEASE.dump_json(self._lease).decode()]
        lines += [entry.model_dump_json() for entry in self._pending]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, "\n".join(lines) + "\n", durable=True)
        except OSError as error:
            # It stays in memory, and is lost only if this process ends before the storage is back.
            logger.warning(event("reports not kept on disk", path=self._path, error=error))


def adopt(slots: SlotTable, lease: Lease, metric: str, folder: RunFolder) -> Lease:
    """Report, in the lease's name, what earlier attempts at its slot could not.

    Their leases may run out after the last look at their spools. Their epochs are in the
    checkpoint that the lease continues from, so no one would report them again.

    Args:
        slots: of the study.
        lease: that has not been trained yet.
        metric: the objective.
        folder: of the study.

    Returns:
        The lease, with the epochs that are reported now.

    Raises:
        StorageAway: repeat it; what has been reported stays so.
        LeaseLost: the slot was given to another worker.
    """
    spools = [
        (path, read[1])
        for path in folder.spools.glob(f"slot_{lease.slot}_attempt_*.jsonl")
        if (read := _read(path)) is not None and read[0].attempt < lease.attempt
    ]
    reported = {
        entry.message.epoch: entry
        for _, entries in spools
        for entry in entries
        # Those that the storage has would look like a trial that started again.
        if isinstance(entry.message, Report) and entry.message.epoch > lease.epoch
    }
    for _, entry in sorted(reported.items()):
        _tell(slots, lease, entry, metric)
    for path, _ in spools:
        path.unlink(missing_ok=True)
    return replace(lease, epoch=max([lease.epoch, *reported]))


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
        lease, entries = read
        if own is not None and lease.owner.startswith(own):
            continue
        epochs = [entry.message.epoch for entry in entries if isinstance(entry.message, Report)]
        if slots.is_outdated(lease, max([0, *epochs])):
            logger.info(event("outdated spool dropped", path=path))
            path.unlink(missing_ok=True)
            continue
        if not is_dead(lease.owner) and not slots.is_abandoned(lease):
            continue
        try:
            for entry in entries:
                _tell(slots, lease, entry, metric)
            if all(isinstance(entry.message, Report) for entry in entries):
                slots.interrupt(lease, "its pilot died")
        except LeaseLost:
            continue
        replayed += 1
        path.unlink(missing_ok=True)
    return replayed


def _tell(
    slots: SlotTable, lease: Lease, entry: _Entry, metric: str
) -> StudyState | SlotState | None:
    message = entry.message
    if isinstance(message, Report):
        value = message.metrics[metric]
        return slots.report(lease, message.epoch, value, message.metrics, entry.attributes)
    if isinstance(message, Broken):
        return slots.break_(lease, message)
    if message.ending == "complete":
        slots.complete(lease, message.metrics, message.provenance)
    elif message.ending == "pruned":
        slots.prune(lease)
    else:
        slots.interrupt(lease, STOPPED)
    return None


def _read(path: Path) -> tuple[Lease, list[_Entry]] | None:
    """Return what a spool holds; None when it has just been handed over, or holds no lease."""
    try:
        first, *rest = path.read_bytes().split(b"\n")
        lease = _LEASE.validate_json(first)
    except (FileNotFoundError, ValidationError):
        return None
    entries: list[_Entry] = []
    for line in rest:
        try:
            entries.append(_Entry.model_validate_json(line))
        except ValidationError:
            break  # the end, or a line cut off by a full disk
    return lease, entries
