"""The agent's end of the channel: one listening socket, one connection per rank."""

import contextlib
import os
import selectors
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wconv_jobs.messages import (
    CHECKPOINT_LINE,
    LEAVE_LINE,
    AnyMessage,
    Broken,
    ChannelError,
    Hello,
    Report,
    Stepped,
    Verdict,
    parse,
)

LONGEST_ADDRESS = 107
"""Bytes in the path of a Unix socket on Linux, without the closing zero (unix(7))."""


def short_temporary_folder(name_length: int) -> str:
    """Return the folder for temporary files, or /tmp where its path is too long for sockets.

    Args:
        name_length: bytes of the path below the folder, its leading slash included.
    """
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + name_length <= LONGEST_ADDRESS else "/tmp"


@dataclass
class _Connection:
    """The state of the process at the other end."""

    received: bytes = b""
    """The start of a line whose end has not arrived yet."""
    rank: int | None = None
    said_goodbye: bool = False


class RankServer:
    """Receives the messages of the ranks, and holds their lifelines."""

    def __init__(self) -> None:
        # Not in the run folder, whose path may be longer than that of a socket.
        parent = short_temporary_folder(len("/wconv-12345678/agent"))
        self._folder = tempfile.TemporaryDirectory(prefix="wconv-", dir=parent)
        self.address = Path(self._folder.name) / "agent"
        """Path of the socket; the folder is the user's alone."""
        self.lost: int | None = None
        """The first rank whose connection ended before it said how it ended itself."""
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.address))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._connections: dict[socket.socket, _Connection] = {}
        self._open = True
        self._demanded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
        self._folder.cleanup()

    def messages(self, timeout_s: float) -> list[AnyMessage]:
        """Return the messages that have arrived, waiting at most `timeout_s` for an event."""
        arrived: list[AnyMessage] = []
        while events := self._selector.select(timeout_s):
            for key, _ in events:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_in:
                    self._wake_in.recv(1)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    arrived += self._read(key.fileobj)
            timeout_s = 0
        return arrived

    def answer(self, verdict: Verdict) -> None:
        """Send rank 0 the verdict on its report."""
        self._tell_rank_0(f"{verdict}\n".encode())

    def demand_checkpoint(self) -> None:
        """Ask rank 0, as soon as it is connected, to end at a checkpoint; once is enough."""
        if not self._demanded:
            self._demanded = True
            self._tell_rank_0(CHECKPOINT_LINE)

    def ask_to_leave(self) -> None:
        """Tell all ranks that the agent hangs up next."""
        for connected in self._connections:
            # Those that have died since need not be told.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connected.sendall(LEAVE_LINE)

    def wake(self) -> None:
        """Let `messages` return; callable from any thread."""
        try:
            self._wake_out.send(b"x")
        except OSError:
            # The agent was interrupted while it waited for this very thread.
            return

    def hang_up(self) -> None:
        """Cut every rank's lifeline, also of ranks that connect later."""
        if self._open:
            self._open = False
            self._selector.unregister(self._listener)
            self._listener.close()
            for connected in list(self._connections):
                self._drop(connected)

    def _accept(self) -> None:
        connected, _ = self._listener.accept()
        self._connections[connected] = _Connection()
        self._selector.register(connected, selectors.EVENT_READ)

    def _read(self, connected: socket.socket) -> list[AnyMessage]:
        connection = self._connections[connected]
        try:
            received = connected.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            self._drop(connected)
            if not connection.said_goodbye and self.lost is None:
                self.lost = connection.rank
            return []
        *lines, connection.received = (connection.received + received).split(b"\n")
        heard = [_heard(line, connection) for line in lines]
        if self._demanded and Hello(rank=0) in heard:
            self._tell_rank_0(CHECKPOINT_LINE)
        return heard

    def _tell_rank_0(self, line: bytes) -> None:
        for connected, connection in self._connections.items():
            if connection.rank == 0:
                try:
                    connected.sendall(line)
                except (BrokenPipeError, ConnectionResetError):
                    # Rank 0 has died since; the next read and the launcher notice.
                    return

    def _drop(self, connected: socket.socket) -> None:
        self._selector.unregister(connected)
        del self._connections[connected]
        connected.close()


def _heard(line: bytes, connection: _Connection) -> AnyMessage:
    try:
        message = parse(line)
    except ChannelError as error:
        message = Broken(
            rank=connection.rank or 0,
            error=type(error).__name__,
            reason=str(error),
            where="channel",
            traceback="",
        )
    if isinstance(message, Hello):
        connection.rank = message.rank
    elif not isinstance(message, Report | Stepped):
        connection.said_goodbye = True
    return message
