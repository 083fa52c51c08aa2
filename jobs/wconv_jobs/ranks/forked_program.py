"""A program that was forked for a rank, as the process tells that keeps it."""

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wconv_jobs.ranks.program_environment import VARYING
from wconv_trial.forked import Order
from wconv_trial.keeper import KILL, TERM

_OUTPUT = (1, 2)
"""Descriptors that the program shares with its rank."""


class ForkedProgram:
    """The rank's connection to the process; see `wconv_trial.keeper`.

    When this process ends, however it ends, so does the program.
    """

    def __init__(self, server: Path) -> None:
        """Connect to the process.

        Raises:
            OSError: it has ended.
        """
        self._connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connected.connect(str(server))
        except OSError:
            self._connected.close()
            raise
        self._lines = self._connected.makefile("rb")
        self._status: int | None = None
        self._ended, self._gone = threading.Event(), threading.Event()

    def start(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> bool:
        """Start the program as soon as the modules are loaded, and return whether it was.

        Where it was not, as it could be told from one in a new interpreter, nothing is left of it.
        """
        order = Order(list(command[1:]), dict(env), str(folder), VARYING)
        with contextlib.suppress(OSError):
            line = order.line()
            sent = socket.send_fds(self._connected, [line], _OUTPUT)
            self._connected.sendall(line[sent:])
        if self._heard().get("started"):
            return True
        self._close()
        return False

    def watch(self, on_end: Callable[[], None]) -> None:
        """Wait until all of the program is gone.

        Args:
            on_end: called when the program itself has ended.
        """
        # Without a word if its keeper was killed, which the kernel lets no program outlive.
        self._status = self._heard().get("status", -signal.SIGKILL)
        self._ended.set()
        on_end()
        self._heard()
        self._close()
        self._gone.set()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the program runs."""
        return self._status

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the program, not of what it has left running."""
        return self._ended.wait(seconds)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the group of the program."""
        self._say(TERM)

    def kill(self) -> None:
        """Kill all that the program has started, and wait until it is gone; `watch` must run."""
        self._say(KILL)
        self._gone.wait()

    def cut(self) -> None:
        """End the connection, and with it the program; callable while another thread waits."""
        with contextlib.suppress(OSError):
            self._connected.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self._lines.close()
        self._connected.close()

    def _say(self, words: bytes) -> None:
        with contextlib.suppress(OSError):  # all of it is gone
            self._connected.sendall(words)

    def _heard(self) -> dict[str, Any]:
        """Return the next words of the process; none after its end."""
        try:
            words: dict[str, Any] = json.loads(self._lines.readline() or b"{}")
        except OSError:
            return {}
        return words
