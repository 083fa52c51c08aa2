"""The rank's end of the channel to a program of the user's, see `wconv_trial.agent`."""

import contextlib
import importlib.util
import json
import selectors
import socket
import tempfile
from pathlib import Path
from typing import Any, Self

from wconv_jobs.ranks.rank_server import short_temporary_folder

PACKAGES = ("wconv_trial", "wconv_kernels")
"""What a program finds, whatever its interpreter."""


class ProgramChannel:
    """A Unix socket, and the packages that a program imports, in a folder of the user's alone."""

    def __init__(self) -> None:
        parent = short_temporary_folder(len("/wconv-12345678/program"))
        self._folder = tempfile.TemporaryDirectory(prefix="wconv-", dir=parent)
        self.address = Path(self._folder.name) / "program"
        """Path of the socket."""
        self.packages = Path(self._folder.name) / "packages"
        """Belongs in PYTHONPATH: a program must not find our other packages instead of its own."""
        self.packages.mkdir()
        for package in PACKAGES:
            (self.packages / package).symlink_to(_folder_of(package))
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.address))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._received: dict[socket.socket, bytes] = {}
        self._messages: list[tuple[socket.socket, dict[str, Any]]] = []
        self._partner: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for each in (self._listener, self._wake_in, self._wake_out, *self._received):
            each.close()
        self._folder.cleanup()

    def wake(self) -> None:
        """Tell that the program has ended; callable from any thread."""
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")

    def next(self) -> dict[str, Any] | None:
        """Wait for the next message of the program; None after the last one."""
        ended = False
        while True:
            while self._messages:
                sender, message = self._messages.pop(0)
                if message["kind"] != "begin" or self._partner in (None, sender):
                    self._partner = sender
                    return message
                refusal = (
                    "another process of this rank has begun the trial already. Switch off the "
                    "launcher of the program's own: the agent has started a process for each rank."
                )
                _send(sender, {"refused": refusal})
            if ended:
                return None
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_in:
                    ended = True
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)
            if ended:
                self._read_the_rest()

    def answer(self, content: dict[str, Any]) -> None:
        """Answer the last message."""
        assert self._partner is not None
        _send(self._partner, content)

    def _accept(self) -> None:
        connected, _ = self._listener.accept()
        self._received[connected] = b""
        self._selector.register(connected, selectors.EVENT_READ)

    def _read(self, connected: socket.socket) -> None:
        try:
            received = connected.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            self._selector.unregister(connected)
            del self._received[connected]
            connected.close()
            return
        *lines, self._received[connected] = (self._received[connected] + received).split(b"\n")
        self._messages += [(connected, json.loads(line)) for line in lines]

    def _read_the_rest(self) -> None:
        """Read what the program has said before its end."""
        self._listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._accept()
        for connected in list(self._received):
            connected.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while connected in self._received:
                    self._read(connected)


def _send(connected: socket.socket, content: dict[str, Any]) -> None:
    # A program that has died since is noticed at its end.
    with contextlib.suppress(OSError):
        connected.sendall(json.dumps(content).encode() + b"\n")


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])
