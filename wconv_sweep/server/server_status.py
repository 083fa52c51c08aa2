"""The status of a personal PostgreSQL: whether and where it runs, and its size."""

import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from wconv_sweep.errors import StorageError
from wconv_sweep.server.address import is_local
from wconv_sweep.server.folder import ServerFolder

_CONNECT_S = 5


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """The status of a server."""

    running: bool
    folder: str
    reason: str | None = None
    """Why it does not run, or does not answer."""
    url: str | None = None
    host: str | None = None
    """The machine it was started on."""
    address: str | None = None
    port: int | None = None
    tls: bool | None = None
    version: str | None = None
    since: float | None = None
    """Start, seconds since 1970."""
    size_bytes: int | None = None
    connections: int | None = None
    max_connections: int | None = None


def status(path: Path) -> ServerStatus:
    """Return the status of the server of a folder; changes nothing."""
    folder = ServerFolder(path)
    record = folder.record()
    if record is None:
        return ServerStatus(
            running=False, folder=str(folder.path), reason="there is no server in this folder"
        )
    known = ServerStatus(
        running=folder.postmaster() is not None,
        folder=str(folder.path),
        url=folder.url(record),
        host=record.host,
        address=record.address,
        port=record.port,
        tls=record.tls,
        since=record.started_at,
    )
    here = record.host in (None, socket.gethostname())
    if not known.running and here:
        reason = "it was stopped"
        if folder.pid_file.exists():
            reason = "it was killed, or the machine was switched off; a start recovers it"
        return replace(known, reason=reason, since=None)
    if not here and is_local(record.address):
        return replace(
            known, reason=f"it was started on {record.host} and can be seen only from there"
        )
    try:
        return replace(known, running=True, **_ask(folder.url(record)))
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1]
        where = "" if here else f"it was started on {record.host}, and from here: "
        return replace(known, reason=f"{where}it does not answer: {reason}")


def url_of(path: Path) -> str:
    """Return the URL of the server of a folder, without password.

    Raises:
        StorageError: there is none.
    """
    folder = ServerFolder(path)
    folder.check_there()
    record = folder.record()
    if record is None:
        raise StorageError(
            f"{folder.path}: the server was never started. Run `wconv-sweep db start` first."
        )
    return folder.url(record)


def _ask(url: str) -> dict[str, Any]:
    with psycopg.connect(url, connect_timeout=_CONNECT_S) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), "
            "extract(epoch FROM pg_postmaster_start_time())::float, "
            "pg_database_size(current_database()), "
            "(SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()), "
            "current_setting('max_connections')::int"
        ).fetchone()
    assert row is not None
    names = ("version", "since", "size_bytes", "connections", "max_connections")
    return dict(zip(names, row, strict=True))
