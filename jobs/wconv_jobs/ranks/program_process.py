"""A program of the user's own as a process group, which ends with its rank in any case."""

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wconv_jobs.ranks.forked_program import ForkedProgram
from wconv_jobs.ranks.spawned_program import SpawnedProgram

TERM_S = 5.0
"""Time between SIGTERM and SIGKILL, seconds."""


class ProgramProcess:
    """Runs a program in a session of its own, with the output of this process.

    Call `start` in the main thread: when that ends, however it ends, the program is killed.
    """

    def __init__(self, server: Path | None = None) -> None:
        """Take where the program is forked from if that can be, see `ForkedProgram`."""
        self._server = server
        self._process: ForkedProgram | SpawnedProgram | None = None
        self._asked: ForkedProgram | None = None
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
        sys.stdout.flush()
        forked = self._ask()
        if forked is not None and not forked.start(command, env, folder):
            forked = None
        with self._changing:
            if self._ended:
                return
            self._process = forked or SpawnedProgram(command, env, folder)
            watch = self._process.watch
        threading.Thread(target=watch, args=[on_end], name="program", daemon=True).start()

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
                if self._asked is not None:
                    self._asked.cut()
                return
            if asked:
                self._process.ask_to_end()
                self._process.ends_within(TERM_S)
            self._process.kill()

    def _ask(self) -> ForkedProgram | None:
        """Return a connection to where the program can be forked from."""
        with self._changing:
            if self._server is not None and not self._ended:
                with contextlib.suppress(OSError):
                    self._asked = ForkedProgram(self._server)
            return self._asked
