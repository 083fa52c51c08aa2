"""The job that goes on with a personal PostgreSQL when the time of the running one is up.

The running job submits it as soon as its server answers, so that it waits in the queue meanwhile,
and grows older there. SLURM lets it start when the running one has ended, however that was.
"""

import time
from collections.abc import Callable
from pathlib import Path

from wconv_sweep.errors import SlurmError, WconvSweepError
from wconv_sweep.server.slurm import ServerRequest, submit_server, waiting_after
from wconv_sweep.slurm.commands import ask_slurm

AGAIN_S = 600.0
"""Time to the next try if SLURM does not take it, seconds."""


class Successor:
    """The next job of a server."""

    def __init__(
        self, path: Path, request: ServerRequest, job: str, say: Callable[[str], None]
    ) -> None:
        """
        Args:
            path: the folder of the server.
            request: of its jobs.
            job: number of the one that runs.
            say: called with what is done, and why it cannot be done.
        """
        self._path, self._request, self._job, self._say = path, request, job, say
        self._number: str | None = None
        self._next_try_s = float("-inf")
        self._said = ""

    def keep(self) -> None:
        """Submit it unless that has been done; what keeps it from that is said, and never raised.

        The server runs on without it, and the next call that is due tries again.
        """
        if self._number is not None or time.monotonic() < self._next_try_s:
            return
        self._next_try_s = time.monotonic() + AGAIN_S
        if self._request.once:
            self._tell("--once")
            return
        try:
            # One whose number got lost on its way here may be waiting already.
            self._number = waiting_after(self._path, self._job) or submit_server(
                self._path, self._request, after=self._job
            )
        except (WconvSweepError, OSError) as error:
            self._tell(str(error))
        else:
            self._say(f"job {self._number} goes on with the server when this one has ended")

    def withdraw(self) -> None:
        """Cancel it, if it was submitted."""
        if self._number is None:
            return
        try:
            ask_slurm(["scancel", self._number])
            self._say(f"job {self._number} was cancelled")
        except SlurmError as error:
            self._say(f"job {self._number} was not cancelled: {error}")

    def _tell(self, why: str) -> None:
        if why != self._said:
            self._say(f"no job goes on with the server when this one has ended: {why}")
        self._said = why
