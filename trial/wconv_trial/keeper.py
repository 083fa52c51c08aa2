"""The process between a program and the one that it was forked from: it ends all that is left.

It adopts what the program has started, also in a session of its own, as the parents of that end.
A rank sends it an `Order`, a line of JSON, with the descriptors of its output. The answer is a
line: {"started": true}, or {"declined": WHY} where the forked program could be told from one in a
new interpreter. The rank then sends TERM and KILL, for all processes of the program, and hears
{"status": N} at its end. The connection ends when all is gone; its end kills the program.
"""

import array
import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
from typing import Any, List, Optional, Tuple

from wconv_trial.descendants import adopt_orphans, kill_descendants
from wconv_trial.forked import PR_SET_PDEATHSIG, Order

TERM, KILL = b"TERM\n", b"KILL\n"
_SERVER_DIED = signal.SIGRTMIN
"""No scheduler sends it."""


class Waker:
    """A file that can be read as soon as a child has ended, or another signal has come."""

    def __init__(self) -> None:
        self._woken, self._wake = socket.socketpair()
        for each in (self._woken, self._wake):
            each.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def fileno(self) -> int:
        """Return the descriptor to read from."""
        return self._woken.fileno()

    def sleep(self) -> None:
        """Forget the signals that have come."""
        self._woken.recv(4096)

    def close(self) -> None:
        """Handle no signals any more."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._woken.close()
        self._wake.close()


class Keeper:
    """Starts a program for a rank, and ends with it."""

    def __init__(self, connected: socket.socket, server: int) -> None:
        """Begin to live as long as the process that this one was forked from.

        Args:
            connected: the rank.
            server: number of that process.
        """
        self._connected = connected
        self._over = False
        self._prctl = ctypes.CDLL(None).prctl
        self._waker = Waker()
        signal.signal(_SERVER_DIED, self._note)
        self._prctl(PR_SET_PDEATHSIG, _SERVER_DIED)
        if os.getppid() != server:
            os._exit(1)
        adopt_orphans()

    def keep(self, unfit: Optional[str]) -> Order:
        """Start a program, and watch it to its end; return what to do in its process alone.

        Args:
            unfit: why no program can be started, if that is so.
        """
        line, output = self._ordered()
        order = Order.parse(line)
        why = unfit or order.unfit()
        if why is not None:
            self._say(declined=why)
            os._exit(0)
        ready, getting_ready = os.pipe()
        keeper = os.getpid()
        program = os.fork()
        if program == 0:
            os.close(ready)
            self._leave(keeper, output)
            os.close(getting_ready)
            return order
        os.close(getting_ready)
        os.read(ready, 1)  # until it has a group that signals can be sent to
        self._say(started=True)
        for descriptor in output:
            os.close(descriptor)
        self._watch(program)
        os._exit(0)

    def _ordered(self) -> Tuple[bytes, List[int]]:
        """Return the order of the rank, and what came along."""
        received = b""
        output: List[int] = []
        while not received.endswith(b"\n"):
            try:
                part, descriptors = _receive(self._connected)
            except OSError:
                part, descriptors = b"", []
            if not part:
                os._exit(0)
            received += part
            output += descriptors
        return received, output

    def _watch(self, program: int) -> None:
        """Obey the rank until all of the program is gone."""
        selector = selectors.DefaultSelector()
        selector.register(self._connected, selectors.EVENT_READ)
        selector.register(self._waker.fileno(), selectors.EVENT_READ)
        told = False
        while not self._over:
            for key, _ in selector.select():
                if key.fd == self._waker.fileno():
                    self._waker.sleep()
                    told = told or self._told_of(program)
                    continue
                try:
                    said = self._connected.recv(4096)
                except OSError:
                    said = b""
                if KILL in said or not said:
                    self._over = True
                elif TERM in said:
                    _signal(program, signal.SIGTERM)
        _signal(program, signal.SIGKILL)
        kill_descendants()
        if not told:
            os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
            self._told_of(program)

    def _told_of(self, program: int) -> bool:
        """Tell the rank that the program has ended, if it has; what it started may run on.

        The program is not buried: its number is that of its group.
        """
        ended = os.waitid(os.P_PID, program, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return False
        exited = ended.si_code == os.CLD_EXITED
        self._say(status=ended.si_status if exited else -ended.si_status)
        return True

    def _say(self, **words: Any) -> None:
        with contextlib.suppress(OSError):  # if the rank has died, its connection has ended
            self._connected.sendall(json.dumps(words).encode() + b"\n")

    def _note(self, *_: object) -> None:
        self._over = True

    def _leave(self, keeper: int, output: List[int]) -> None:
        """In the program: end with the keeper, and have nothing of it but the output."""
        self._waker.close()
        signal.signal(_SERVER_DIED, signal.SIG_DFL)
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        os.setsid()
        self._connected.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate([nothing, *output]):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _signal(program: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program, number)


def _receive(connected: socket.socket) -> Tuple[bytes, List[int]]:
    """Return what has arrived, and the descriptors that came along; Python 3.8 has no recv_fds."""
    found = array.array("i")
    received, ancillary, _, _ = connected.recvmsg(1 << 20, socket.CMSG_LEN(2 * found.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return received, list(found)
