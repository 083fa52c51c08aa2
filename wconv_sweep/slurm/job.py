"""A job of the user's in SLURM, and its state."""

import enum
import re
from dataclasses import dataclass

from wconv_sweep.slurm.reasons import explain, never_starts


class JobState(enum.StrEnum):
    """The state of a job; it separates cases that share a state of SLURM's own."""

    PENDING = "pending"
    HELD = "held"
    """Pending until its owner or an administrator releases it."""
    REQUEUED = "requeued"
    """Pending again, after it has run."""
    RUNNING = "running"
    SUSPENDED = "suspended"
    """Has its nodes and does not run; SLURM continues it later."""
    COMPLETING = "completing"
    """Its processes are ending, or it is about to be put back into the queue."""
    REVOKED = "revoked"
    """Another cluster of the federation has started it; this one waits until it has ended there.
    Cancelling it here ends it there."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    PREEMPTED = "preempted"
    UNKNOWN = "unknown"
    """Gone from the queue, and accounting has not heard of its end; or it has ended on another
    cluster of the federation."""


ALIVE = (
    JobState.PENDING,
    JobState.HELD,
    JobState.REQUEUED,
    JobState.RUNNING,
    JobState.SUSPENDED,
    JobState.COMPLETING,
    JobState.REVOKED,
)
_WAITS = (JobState.PENDING, JobState.HELD, JobState.REQUEUED)


@dataclass(frozen=True)
class SlurmJob:
    """One job: an element of an array."""

    job: str
    """The number that the element has of its own, SLURM_JOB_ID; of an element that waits, that of
    its array."""
    array: str
    """Number of the array, or of a job that is none."""
    index: str
    """Of the element within its array; empty for a job that is none."""
    state: JobState
    reason: str
    """SLURM's own word for why it waits, or how it ended."""
    nodes: str
    """Names, in SLURM's short form."""
    start: str
    """When it started, or is expected to, as SLURM writes it."""
    end: str
    """When it ended, or must."""
    cluster: str | None = None
    """SLURM's name of its cluster; None: that of this machine. Numbers are of one cluster."""

    @property
    def name(self) -> str:
        """How SLURM shows it, e.g. 1234_5, or 1234 where it is no array."""
        return f"{self.array}_{self.index}" if self.index else self.array

    @property
    def option(self) -> str:
        """What a command of SLURM needs before its other words to reach this job."""
        return f"--clusters={self.cluster} " if self.cluster else ""

    @property
    def where(self) -> str:
        """What belongs behind advice to call commands of SLURM for this job."""
        return f" (SLURM's commands with --clusters={self.cluster})" if self.cluster else ""

    @property
    def meaning(self) -> str | None:
        """The reason in words; None where SLURM has none, or one that nobody knows."""
        return explain(self.reason) if self.state in _WAITS or not self.alive else None

    @property
    def expected_start(self) -> str:
        """When SLURM expects to start it, as SLURM writes it; empty where it does not know."""
        return self.start if self.state in _WAITS else ""

    @property
    def never_starts(self) -> bool:
        """Whether it waits for what cannot happen: it asks for more than it may have."""
        return self.state in _WAITS and never_starts(self.reason)

    @property
    def alive(self) -> bool:
        """Whether it may still work for its study."""
        return self.state in ALIVE


def state_of(word: str) -> JobState:
    """Return the state of a job that is not in the queue any more, of SLURM's word for it."""
    return _ENDED.get(word, JobState.UNKNOWN)


def time_in(text: str) -> str:
    """Return a time as SLURM writes it; empty where it has none."""
    return "" if re.fullmatch(r"N/A|None|NONE|Unknown|", text) else text


_ENDED = {
    "COMPLETED": JobState.COMPLETED,
    "CANCELLED": JobState.CANCELLED,
    "FAILED": JobState.FAILED,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "NODE_FAIL": JobState.NODE_FAIL,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "PREEMPTED": JobState.PREEMPTED,
    # Of a job that has left the queue: cancelled while it ended to be put back.
    "REQUEUED": JobState.CANCELLED,
}
