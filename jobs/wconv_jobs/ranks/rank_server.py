"""The agent's end of the channel: one listening socket, one connection per rank."""

import contextlib
import socket
from dataclasses import dataclass
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
from wconv_jobs.ranks.private_socket import PrivateSocket


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
        self._socket = PrivateSocket("agent")
        self.address = self._socket.address
        """Path of the socket."""
        self.lost: int | None = None
        """The first rank whose connection ended before it said how it ended itself."""
        self._connections: dict[socket.socket, _Connection] = {}
        self._open = True
        self._demanded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._socket.close()

    def messages(self, timeout_s: float) -> list[AnyMessage]:
        """Return the messages that have arrived, waiting at most `timeout_s` for an event."""
        arrived: list[AnyMessage] = []
        while events := self._socket.selector.select(timeout_s):
            for key, _ in events:
                if key.fileobj is self._socket.listener:
                    self._accept()
                elif key.fileobj is self._socket.woken:
                    self._socket.woken.recv(1)
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
        # The agent may have been interrupted while it waited for this very thread.
        self._socket.wake()

    def hang_up(self) -> None:
        """Cut every rank's lifeline, also of ranks that connect later."""
        if self._open:
            self._open = False
            self._socket.selector.unregister(self._socket.listener)
            self._socket.listener.close()
            for connected in list(self._connections):
                self._drop(connected)

    def _accept(self) -> None:
        self._connections[self._socket.accept()] = _Connection()

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
        self._socket.selector.unregister(connected)
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
