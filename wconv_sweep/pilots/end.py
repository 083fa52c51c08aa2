"""When a pilot ends: its time is up, it was asked to, or another copy of it has started."""

import signal
import time

HANG_S = 30.0
"""Time that trials get to end after they were asked to, seconds."""
POLL_S = 0.2
"""Longest time until a waiting thread sees a signal, seconds."""


class PilotEnd:
    """How long the lanes of an agent may run; all of them look at it.

    Plain values that a signal handler may set at any moment: it must take no lock.
    """

    def __init__(self, ends_s: float, grace_s: float) -> None:
        """
        Args:
            ends_s: when the pilot must have ended, seconds since 1970.
            grace_s: last part of its time, in which trials reach a checkpoint.
        """
        self.training_ends_s = ends_s - grace_s
        """When trials are asked to stop at their next checkpoint, seconds since 1970."""
        self._grace_s = grace_s
        self.signaled: signal.Signals | None = None
        """The last signal that asked for the end."""
        self._warned = False
        self.superseded = False
        """Whether another copy of this pilot has started."""
        self._since: float | None = None

    def on_signal(self, number: int) -> None:
        """Take in SIGTERM or SIGUSR2; callable from a handler."""
        self.signaled = signal.Signals(number)
        self._warned = self._warned or number == signal.SIGUSR2
        self.begin()

    def begin(self) -> None:
        """Let no more trials start, and let running ones end at their next checkpoint."""
        if self._since is None:
            self._since = time.monotonic()

    @property
    def time_is_up(self) -> bool:
        """Whether the rest of the pilot's time is its grace."""
        return time.time() >= self.training_ends_s

    @property
    def has_begun(self) -> bool:
        """Whether trials are to stop at their next checkpoint."""
        if self._since is None and (self.superseded or self.time_is_up):
            self.begin()
        return self._since is not None

    @property
    def is_overdue(self) -> bool:
        """Whether the grace is used up."""
        return self.superseded or self._past(self._grace_s)

    @property
    def is_hopeless(self) -> bool:
        """Whether trials that were killed at the end of the grace still exist."""
        return self._past(self._grace_s + HANG_S)

    @property
    def may_go_on(self) -> bool:
        """Whether a new start of the pilot is welcome.

        SIGUSR2 comes before the time limit or a preemption. SIGTERM alone is also what a
        cancelled job gets, and a job that SLURM itself puts back into the queue.
        """
        return not self.superseded and (self._warned or self.signaled is None)

    @property
    def training_left_s(self) -> float:
        """Time in which trials may still train, seconds."""
        return 0.0 if self.has_begun else self.training_ends_s - time.time()

    @property
    def patience_s(self) -> float:
        """Time in which a failed step may be retried, seconds.

        Half of the grace is for what comes after it.
        """
        return max(0.0, self.training_ends_s + self._grace_s / 2 - time.time())

    def wait(self, pause_s: float) -> bool:
        """Let time pass; return whether patience has ended, see `Storage.retrying`."""
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not self._past(self._grace_s / 2):
            time.sleep(min(POLL_S, max(0.0, until - time.monotonic())))
        return self._past(self._grace_s / 2)

    @property
    def why(self) -> str:
        """The reason in words."""
        if self.superseded:
            return "another copy of this pilot has started"
        if self.signaled is not None:
            return f"it was asked to stop ({self.signaled.name})"
        return "its time is up"

    def _past(self, seconds: float) -> bool:
        return (
            self.has_begun and self._since is not None and time.monotonic() - self._since > seconds
        )
