"""Studies on a PostgreSQL server, for processes on any number of machines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Float,
    NullPool,
    create_engine,
    event,
    literal_column,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from wconv_sweep.server.folder import address_beside
from wconv_sweep.storage.connecting import CONNECT_TIMEOUT_S, Refused, connect_to_any, passes
from wconv_sweep.storage.credentials import check_passfile

IDLE_IN_TRANSACTION_S = 5
LOCK_TIMEOUT_S = 15
STATEMENT_TIMEOUT_S = 60
IDLE_S = 5.0
"""Idle time after which a connection is checked before its use, seconds."""
CREATION_TIMEOUT_S = 300
"""Time that a process waits while others create or change tables."""

# In this order: a frozen process that holds a lock is cut off before waiting ones give up.
SESSION = {
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
    "lock_timeout": f"{LOCK_TIMEOUT_S}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
}
# A node that vanishes, or a firewall that forgets a connection, is noticed within two minutes.
_CONNECT = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "wconv-sweep",
    "keepalives_idle": 60,
    "keepalives_interval": 15,
    "keepalives_count": 4,
    "tcp_user_timeout": 120_000,
}
_LOCK = 0x77636F6E76  # "wconv": of pg_advisory_lock, while tables are created


class PostgresBackend:
    """A database on a PostgreSQL server."""

    def __init__(self, url: URL) -> None:
        check_passfile(url)
        self._url = url
        # One connection per process, which Optuna's client shares; a second one for the moment in
        # which both are in use.
        self.engine: Engine = create_engine(
            url,
            pool_size=1,
            max_overflow=1,
            connect_args=self._connect_arguments,
        )
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "checkin", _note_use)
        event.listen(self.engine, "checkout", _check_idle)
        event.listen(self.engine, "do_connect", _connect)

    @property
    def folder(self) -> Path:
        """The root: the paths in the database are absolute."""
        return Path("/")

    @property
    def now(self) -> ColumnElement[float]:
        """The server's clock, seconds since 1970, which runs on during a transaction."""
        return _seconds("clock_timestamp()")

    @property
    def up_since(self) -> ColumnElement[float]:
        """When the server last started, or recovered from the crash of one of its processes.

        The postmaster survives such a crash, but its statistics do not.
        """
        started, recovered = "pg_postmaster_start_time()", "pg_stat_get_bgwriter_stat_reset_time()"
        return _seconds(f"greatest({started}, {recovered})")

    def is_there(self) -> bool:
        """Assume so: an absent server fails at the connection."""
        return True

    def reading(self, connection: Connection) -> Connection:
        """Return the connection, for a transaction that sees one state of the database."""
        return connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time create or change tables."""
        engine = create_engine(self._url, poolclass=NullPool, connect_args=self._connect_arguments)
        event.listen(engine, "do_connect", _connect)
        with engine.connect() as connected:
            # The lock belongs to the session: a transaction that is idle for so long is cut off.
            connection = connected.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("SET lock_timeout = 0")
            connection.exec_driver_sql(f"SET statement_timeout = '{CREATION_TIMEOUT_S}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
            yield
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")

    @property
    def optuna_arguments(self) -> dict[str, Any]:
        """How Optuna's client makes an engine of its own, which keeps no connection."""
        return {"poolclass": NullPool, "connect_args": self._connect_arguments}

    optuna_shares_engine = True

    def is_passing(self, error: DBAPIError) -> bool:
        """Return whether a retry may succeed, on a new connection if this one is gone."""
        if error.connection_invalidated or isinstance(error.orig, psycopg.InterfaceError):
            return True
        if not isinstance(error.orig, psycopg.Error) or isinstance(error.orig, Refused):
            return False
        code = error.orig.sqlstate
        return isinstance(error.orig, psycopg.OperationalError) if code is None else passes(code)

    def refusal(self, error: DBAPIError) -> None:
        """Return None: the server's message is plain enough."""

    @property
    def _connect_arguments(self) -> dict[str, Any]:
        given = self._url.query
        return {name: value for name, value in _CONNECT.items() if name not in given}


def _note_use(connection: object, record: ConnectionPoolEntry) -> None:
    record.info["used_s"] = time.monotonic()


def _check_idle(
    connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry, _: object
) -> None:
    """Reconnect if an idle connection is gone.

    A check each time, as with `pool_pre_ping`, costs as much as a statement. A server that goes
    away between two statements is `StorageAway` in any case, and the next try reconnects.
    """
    used_s = record.info.get("used_s")
    if used_s is None or time.monotonic() - used_s < IDLE_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error


def _seconds(moment: str) -> ColumnElement[float]:
    """Return a moment in seconds since 1970; without the cast it would be a Decimal."""
    return literal_column(f"CAST(extract(epoch FROM {moment}) AS double precision)", Float)


def _connect(
    dialect: Dialect, record: object, arguments: list[Any], parameters: dict[str, Any]
) -> DBAPIConnection:
    """Connect to the current address of a personal server: it may have moved since."""
    moved = address_beside(Path(parameters.get("passfile", "")))
    if moved is not None:
        parameters["host"], parameters["port"] = moved
    return connect_to_any(partial(dialect.connect, *arguments), parameters)


def _configure(connection: "psycopg.Connection[Any]", _: object) -> None:
    # Not as startup options, which connection poolers such as PgBouncer refuse; outside of a
    # transaction, whose rollback would take them back.
    connection.autocommit = True
    for name, value in SESSION.items():
        connection.execute(f"SET {name} = '{value}'")
    connection.autocommit = False
