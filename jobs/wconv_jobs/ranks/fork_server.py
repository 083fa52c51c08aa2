"""The process with torch loaded that all ranks are forked from, for trials in several threads."""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.resource_tracker
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import popen_forkserver

from wconv_jobs.ranks.agent_signals import AGENT_SIGNALS
from wconv_jobs.ranks.private_socket import short_temporary_folder
from wconv_trial.descendants import kill_orphans

_PRELOADED = "wconv_jobs.ranks.preloaded"
_STARTING = threading.Lock()


def start_fork_server() -> None:
    """Start the process that all ranks are forked from, unless it runs already, and do not wait.

    A pilot starts it first: it loads torch while the pilot loads the rest, and this module loads
    none of that.
    It inherits the mask of blocked signals, and ranks inherit it from there: SLURM sends signals
    to every process of a job, and the agent needs the ranks to reach their checkpoint. So does
    the process that looks after the semaphores of multiprocessing.
    """
    # The temporary folder belongs to all threads, and one server is enough.
    with _STARTING:
        popen_forkserver.Popen = SharedPopen  # type: ignore[misc]
        multiprocessing.set_forkserver_preload([_PRELOADED])
        with _signals_blocked(), _short_temporary_folder():
            multiprocessing.resource_tracker.ensure_running()
            # Once more, because it unblocks signals when it has started its process.
            signal.pthread_sigmask(signal.SIG_BLOCK, AGENT_SIGNALS)
            multiprocessing.forkserver.ensure_running()


def end_orphans() -> None:
    """Kill what programs of the user's have left running whose ranks were killed."""
    # Its own children, the ranks, stay in its session; a program has one of its own.
    server: int | None = getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None)
    if server is not None:
        with contextlib.suppress(ProcessLookupError):  # it was killed
            kill_orphans(server)


class SharedPopen(popen_forkserver.Popen):
    """The handle of a forked process, whose end several threads may ask for at once.

    Starting a process asks all others of this program whether they have ended. The exit status
    can be read once; in the library's class the second of two threads takes its absence for the
    death of the fork server, and a rank of another trial that ended well for one that broke.
    """

    def __init__(self, process_obj: multiprocessing.process.BaseProcess) -> None:
        self._reading = threading.Lock()
        super().__init__(process_obj)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit status; None while the process runs and `flag` says not to wait."""
        if flag != os.WNOHANG:
            multiprocessing.connection.wait([self.sentinel])
        with self._reading:
            return super().poll(os.WNOHANG)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, AGENT_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _short_temporary_folder() -> Iterator[None]:
    folder = tempfile.tempdir
    tempfile.tempdir = short_temporary_folder(len("/pymp-12345678/listener-12345678"))
    try:
        yield
    finally:
        tempfile.tempdir = folder
