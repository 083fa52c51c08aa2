"""A program in an interpreter of its own, as a process group that ends with its rank."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wconv_trial.descendants import adopt_orphans, kill_descendants
from wconv_trial.forked import PR_SET_PDEATHSIG


class SpawnedProgram:
    """Runs a program in a session of its own, with the output of this process.

    Made in the main thread: when that ends, however it ends, the kernel kills the program.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        adopt_orphans()
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_in_child(),
        )

    def watch(self, on_end: Callable[[], None]) -> None:
        """Wait until the program has ended, and then call `on_end`."""
        self._process.wait()
        on_end()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the program runs."""
        return self._process.poll()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the program, not of what it has left running."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ask_to_end(self) -> None:
        """Send SIGTERM to the whole group of the program."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill all that the program has started, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        kill_descendants()
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # The group has the number of its first process, also after that has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _in_child() -> Callable[[], None]:
    """Return what the child does before it becomes the program; all is loaded by then."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # The agent's are blocked in its ranks; the program may handle them.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return prepare
