"""Connects to a PostgreSQL server, and tells one that refuses from one that is away.

psycopg passes on only the text of a failed connection, which the server writes in a language of
its own. What counts is the SQLSTATE: libpq knows it, and says it when asked for such messages.
"""

import ctypes
import errno
import os
import re
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine.interfaces import DBAPIConnection

CONNECT_TIMEOUT_S = 10
"""Time for one attempt to connect, to all addresses of a server together."""
_SHORTEST_TIMEOUT_S = 2  # as libpq and psycopg have it

# https://www.postgresql.org/docs/current/errcodes-appendix.html: classes connection exception,
# insufficient resources, system error; then server shut down, crashed or starting, session cut
# off, lock not available, statement timed out, serialization failure, deadlock.
_PASSING_CLASSES = ("08", "53", "58")
_PASSING = {
    *("57P01", "57P02", "57P03", "57P05", "25P03", "25P04"),
    *("55P03", "57014", "40001", "40P01"),
}
# How connect() fails while a server, its machine or the network is away. libpq passes on the
# system's words, which are in the language of this process, as those of os.strerror are.
_PASSING_ERRORS = (
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ENOENT),
    *(errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN),
    *(errno.EAGAIN, errno.EINTR, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM),
)
# libpq's own words for a connection that broke off; no library here sets another language.
_BROKEN_OFF = (
    *("server closed the connection unexpectedly", "SSL connection has been closed unexpectedly"),
    *("SSL SYSCALL error", "unexpected eof while reading", "timeout expired"),
    *("could not receive data from server", "could not send data to server"),
    "could not create socket",
)
# What a name server that is away means; an unknown name is no outage.
_PASSING_LOOKUPS = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM, socket.EAI_MEMORY)
_PQERRORS_SQLSTATE = 3


class Refused(psycopg.OperationalError):
    """The next try would fail like this one: somebody has to change something first."""


def passes(sqlstate: str) -> bool:
    """Return whether an error of a server may be over at the next try."""
    return sqlstate.startswith(_PASSING_CLASSES) or sqlstate in _PASSING


def connect_to_any(
    connect: Callable[..., DBAPIConnection], parameters: dict[str, Any]
) -> DBAPIConnection:
    """Connect to the first address of a server that lets one in.

    Args:
        connect: takes the parameters as psycopg.connect does.
        parameters: of libpq.

    Raises:
        Refused: an address answered that it will not let one in, now or later.
        psycopg.Error: no address can be reached at the moment.
    """
    attempts = list(_attempts(parameters))
    failures: list[psycopg.OperationalError] = []
    for attempt in attempts:
        try:
            return connect(**attempt)
        except psycopg.OperationalError as error:
            failures.append(_told_apart(error))
    # An answer says more than no answer at another address.
    raise next((error for error in failures if isinstance(error, Refused)), failures[-1])


def _attempts(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parameters for each address of a server's name.

    psycopg would give each address the whole time.
    """
    host = str(parameters.get("host") or "")
    # No name, or several servers that the user lists: libpq's own business.
    if not host or host.startswith("/") or "," in host or parameters.get("hostaddr"):
        yield parameters
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        text = f"failed to resolve host {host!r}: {error.strerror}"
        kind = psycopg.OperationalError if error.errno in _PASSING_LOOKUPS else Refused
        raise kind(text) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    in_all_s = int(parameters.get("connect_timeout") or CONNECT_TIMEOUT_S)
    each_s = max(_SHORTEST_TIMEOUT_S, in_all_s // len(addresses))
    for address in addresses:
        yield parameters | {"hostaddr": address, "connect_timeout": each_s}


def _told_apart(error: psycopg.OperationalError) -> psycopg.OperationalError:
    """Return the error, as `Refused` if the next try would fail, too."""
    # Without a connection of libpq nothing came back in time.
    if error.pgconn is None or _is_outage(str(error)):
        return error
    options = {
        option.keyword.decode(): option.val.decode()
        for option in error.pgconn.info
        if option.val is not None
    }
    text = _refusal(make_conninfo(**options))
    if text is None or _is_outage(text):
        return error
    codes = re.findall(r":\s+([0-9A-Z]{5})$", text, re.MULTILINE)
    if codes and passes(codes[-1]):
        return error
    return Refused(str(error))


def _is_outage(text: str) -> bool:
    # Not anywhere in it: a certificate may lie in a file that is not there, too.
    sockets = [f"failed: {os.strerror(number)}" for number in _PASSING_ERRORS]
    return any(words in text for words in (*sockets, *_BROKEN_OFF))


def _refusal(conninfo: str) -> str | None:
    """Connect once more; return libpq's message, with the SQLSTATE in place of a server's words.

    Returns:
        None if the server lets one in after all, or nothing comes back in time.
    """
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        # psycopg documents it for functions that it does not wrap, but its types lack it.
        pointer = ctypes.c_void_p(connection.pgconn_ptr)  # type: ignore[attr-defined]
        _libpq().PQsetErrorVerbosity(pointer, _PQERRORS_SQLSTATE)
        while connection.status != pq.ConnStatus.BAD:
            state = connection.connect_poll()
            if state == pq.PollingStatus.OK:
                return None
            if state == pq.PollingStatus.FAILED:
                break
            reading = [connection.socket] if state == pq.PollingStatus.READING else []
            writing = [] if reading else [connection.socket]
            left_s = max(0.0, deadline - time.monotonic())
            if not any(select.select(reading, writing, [], left_s)):
                return None
        return connection.get_error_message()
    finally:
        connection.finish()


def _libpq() -> ctypes.CDLL:
    """Return the libpq that psycopg uses; its wheel brings one under a name of its own."""
    # The names of a library that an extension module is linked with are found through the module.
    if pq.__impl__ == "python":
        return ctypes.CDLL(str(pq.misc.find_libpq_full_path()))
    return ctypes.CDLL(str(sys.modules[pq.PGconn.__module__].__file__))
