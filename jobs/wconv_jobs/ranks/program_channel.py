"""The rank's end of the channel to a program of the user's, see `wconv_trial.agent`."""

import contextlib
import importlib.util
import json
import socket
from pathlib import Path
from typing import Any, Self

from wconv_jobs.ranks.private_socket import PrivateSocket

PACKAGES = ("wconv_trial", "wconv_kernels")
"""What a program finds, whatever its interpreter."""


def link_packages(folder: Path) -> None:
    """Make a folder that holds the packages and, for PYTHONPATH, nothing else of ours."""
    folder.mkdir()
    for package in PACKAGES:
        (folder / package).symlink_to(_folder_of(package))


class ProgramChannel:
    """A Unix socket, and the packages that a program imports, in a folder of the user's alone."""

    def __init__(self) -> None:
        self._socket = PrivateSocket("program")
        self.address = self._socket.address
        """Path of the socket."""
        self.packages = self._socket.folder / "packages"
        """Belongs in PYTHONPATH: a program must not find our other packages instead of its own."""
        link_packages(self.packages)
        self._received: dict[socket.socket, bytes] = {}
        self._messages: list[tuple[socket.socket, dict[str, Any]]] = []
        self._partner: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._received:
            each.close()
        self._socket.close()

    def wake(self) -> None:
        """Tell that the program has ended; callable from any thread."""
        self._socket.wake()

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
            for key, _ in self._socket.selector.select():
                if key.fileobj is self._socket.listener:
                    self._accept()
                elif key.fileobj is self._socket.woken:
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
        connected = self._socket.accept()
        self._received[connected] = b""

    def _read(self, connected: socket.socket) -> None:
        try:
            received = connected.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            self._socket.selector.unregister(connected)
            del self._received[connected]
            connected.close()
            return
        *lines, self._received[connected] = (self._received[connected] + received).split(b"\n")
        self._messages += [(connected, json.loads(line)) for line in lines]

    def _read_the_rest(self) -> None:
        """Read what the program has said before its end."""
        self._socket.listener.setblocking(False)
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
