"""The address that a personal server listens on: one interface of this machine, and one port."""

import contextlib
import errno
import ipaddress
import random
import re
import socket
from typing import Any, Literal

from wconv_sweep.errors import ConfigurationError

# Below the ports that the kernel gives to outgoing connections (32768 on Linux), so that one of
# those does not occupy ours when the server starts again.
_PORTS = range(20_000, 32_000)
_KNOCK_S = 5.0


def check_address(address: str) -> None:
    """Raise `ConfigurationError` unless a program may listen on `address`, a name or a number."""
    if not re.fullmatch(r"[\w.:%-]+", address, re.ASCII):
        raise ConfigurationError(
            f"--host {address}: is not a name or address of this machine. Choose another."
        )
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_unspecified:
            raise ConfigurationError(
                f"--host {address}: would listen everywhere. Choose one address of this machine, "
                "e.g. the one on the cluster's own network."
            )
    try:
        _bind(address, 0)
    except OSError as error:
        raise ConfigurationError(
            f"--host {address}: is not a name or address of this machine ({error.strerror}). "
            "Choose another with --host."
        ) from error


def is_local(address: str) -> bool:
    """Return whether only processes on this machine reach the address."""
    try:
        found = [str(entry[4][0]).partition("%")[0] for entry in _resolve(address, 0)]
    except OSError:
        return False
    return all(ipaddress.ip_address(number).is_loopback for number in found)


def check_port(address: str, port: int) -> None:
    """Raise `ConfigurationError` when another program listens on the port."""
    try:
        _bind(address, port)
    except OSError as error:
        raise ConfigurationError(
            f"--port {port}: cannot be used on {address}: {error.strerror}. Choose another with "
            "--port, or 0 for a free one; the URL of the storage changes with it."
        ) from error


def free_port(address: str) -> int:
    """Return a port that no program listens on."""
    for port in random.sample(_PORTS, 100):
        with contextlib.suppress(OSError):
            _bind(address, port)
            return port
    raise ConfigurationError(f"{address}: finds no free port. Choose one with --port.")


def knock(address: str, port: int) -> Literal["answers", "refused", "silent"]:
    """Return whether a program listens on a port, of this machine or another."""
    try:
        socket.create_connection((address, port), timeout=_KNOCK_S).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"
    return "answers"


def _bind(address: str, port: int) -> None:
    """Listen for a moment on all addresses of the name that this machine has."""
    missing: OSError | None = OSError(errno.EADDRNOTAVAIL, "it has no address")
    for family, kind, protocol, _, where in _resolve(address, port):
        try:
            with socket.socket(family, kind, protocol) as listener:
                # As PostgreSQL does; a port whose last connections are closing is free.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(where)
                listener.listen(1)
        except OSError as error:
            # localhost often has an IPv6 address where the machine has no IPv6.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            missing = missing and error
        else:
            missing = None
    if missing is not None:
        raise missing


def _resolve(address: str, port: int) -> list[Any]:
    return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
