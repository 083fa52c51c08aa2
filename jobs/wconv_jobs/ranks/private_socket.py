"""A listening Unix socket in a folder of the user's alone, whose events can be waited for."""

import contextlib
import os
import selectors
import socket
import tempfile
from pathlib import Path

LONGEST_ADDRESS = 107
"""Bytes in the path of a Unix socket on Linux, without the closing zero (unix(7))."""


class PrivateSocket:
    """The socket, a selector that knows it, and a way of ending its wait from another thread."""

    def __init__(self, name: str) -> None:
        """
        Args:
            name: of the socket in its folder.
        """
        # Not in the run folder, whose path may be longer than that of a socket.
        parent = short_temporary_folder(len(f"/wconv-12345678/{name}"))
        self._folder = tempfile.TemporaryDirectory(prefix="wconv-", dir=parent)
        self.folder = Path(self._folder.name)
        self.address = self.folder / name
        """Path of the socket."""
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.address))
        self.listener.listen()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.woken, self._wake = socket.socketpair()
        """Readable once `wake` was called."""
        self.selector.register(self.woken, selectors.EVENT_READ)

    def accept(self) -> socket.socket:
        """Return a connection that has arrived, from now on one of the selector's."""
        connected, _ = self.listener.accept()
        self.selector.register(connected, selectors.EVENT_READ)
        return connected

    def wake(self) -> None:
        """End the selector's wait; callable from any thread, also when all is closed."""
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def close(self) -> None:
        """Close everything but the connections, and remove the folder."""
        self.selector.close()
        for each in (self.listener, self.woken, self._wake):
            each.close()
        self._folder.cleanup()


def short_temporary_folder(name_length: int) -> str:
    """Return the folder for temporary files, or /tmp where its path is too long for sockets.

    Args:
        name_length: bytes of the path below the folder, its leading slash included.
    """
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + name_length <= LONGEST_ADDRESS else "/tmp"
