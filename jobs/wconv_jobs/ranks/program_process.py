"""A program of the user's own as a process group, which ends with its rank in any case."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wconv_jobs.ranks.descendants import adopt_orphans, kill_descendants

TERM_S = 5.0
"""Time between SIGTERM and SIGKILL, seconds."""

_PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


class ProgramProcess:
    """Runs a program in a session of its own, with the output of this process.

    Call `start` in the main thread: when that ends, however it ends, the kernel kills the program.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._ended = False

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        on_end: Callable[[], None],
    ) -> None:
        """Start the program.

        Args:
            command: with its arguments.
            env: all of its variables.
            folder: that it runs in.
            on_end: called from another thread when it has ended.

        Raises:
            OSError: it cannot be started.
        """
        with self._changing:
            if self._ended:
                return
            sys.stdout.flush()
            adopt_orphans()
            process = self._process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_in_child(),
            )

        def wait() -> None:
            process.wait()
            on_end()

        threading.Thread(target=wait, name="program", daemon=True).start()

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def end(self, asked: bool = False) -> None:
        """Kill the program and whatever it has left running; callable from any thread.

        Args:
            asked: send SIGTERM first, which it may handle, and give it `TERM_S`.
        """
        with self._changing:
            self._ended = True
            if self._process is None:
                return
            if asked:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(TERM_S)
            self._signal(signal.SIGKILL)
            kill_descendants()
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        # The group has the number of its first process, also after that has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _in_child() -> Callable[[], None]:
    """Return what the child does before it becomes the program; all is loaded by then."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # The agent's are blocked in its ranks; the program may handle them.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return prepare
