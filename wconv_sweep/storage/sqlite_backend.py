"""Studies in an SQLite file, for processes on one machine.

It runs with a write-ahead log and takes the write lock at the start of a transaction: with 64
processes, that is four times the trials per second of the defaults, without one 'database is
locked'.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Float, create_engine, event
from sqlalchemy import literal_column as literal
from sqlalchemy.exc import DBAPIError, OperationalError

from wconv_sweep.errors import StorageError
from wconv_sweep.storage.backoff import pauses

BUSY_TIMEOUT_S = 60.0

_OWN_WAIT_S = 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05
# Locked, disk full, a disk that fails, a race for the log: all may be over in a while.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
}
# A file or folder that only others may write to.
_REFUSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}


class SqliteBackend:
    """An SQLite file."""

    def __init__(self, url: URL) -> None:
        assert url.database is not None
        self._path = Path(url.database)
        self.engine: Engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self._path.parent.resolve()

    @property
    def now(self) -> ColumnElement[float]:
        """The clock of the machine, seconds since 1970."""
        return literal("((julianday('now') - 2440587.5) * 86400.0)", Float)

    @property
    def up_since(self) -> None:
        """None: there is no server."""
        return None

    def is_there(self) -> bool:
        """Return whether there is a file."""
        try:
            return self._path.exists()
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be opened: {error.strerror}. Choose another with --storage "
                "or --runs."
            ) from error

    def reading(self, connection: Connection) -> Connection:
        """Return the connection, for a transaction that only reads."""
        return connection.execution_options(wconv_read=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time create or change tables."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            name = self._path.with_name(self._path.name + ".lock")
            lock = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be created: {error.strerror}. Choose another --storage."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @property
    def optuna_arguments(self) -> dict[str, Any]:
        """How Optuna's client makes an engine of its own.

        It cannot have ours, which would take the write lock for everything that it reads.
        """
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}

    optuna_shares_engine = False

    def is_passing(self, error: DBAPIError) -> bool:
        """Return whether a retry may succeed."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _PASSING

    def refusal(self, error: DBAPIError) -> str | None:
        """Return the remedy if the file's permissions are missing; None for other errors."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in _REFUSED:
            return None
        return (
            f"{self._path}: {error.orig}. SQLite has to write to the file and into its folder, "
            "and to read as well while no other process uses it. To look at a study of "
            "somebody else, ask for what `wconv-sweep db backup FILE` writes, and name that with "
            "--storage sqlite:///FILE."
        )


def _configure(connection: Any, _: object) -> None:
    # The driver's own transactions start with the first change, too late for the write lock.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("wconv_read", False):
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite itself waits for the lock in steps that are equal for all processes: those that
    # once collided collide again at each step. So it waits briefly, then we do, at random.
    _set_busy_timeout(connection, _OWN_WAIT_S)
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    for pause in pauses(_FIRST_PAUSE_S, _LONGEST_PAUSE_S):
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            break
        except OperationalError as error:
            busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(pause)
    _set_busy_timeout(connection, BUSY_TIMEOUT_S)


def _set_busy_timeout(connection: Connection, seconds: float) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout={round(1000 * seconds)}")
