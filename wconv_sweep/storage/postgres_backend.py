"""Studies on a PostgreSQL server, for processes on any number of machines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Float,
    NullPool,
    create_engine,
    event,
    literal_column,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from wconv_sweep.server.folder import address_beside
from wconv_sweep.storage.credentials import check_passfile

CONNECT_TIMEOUT_S = 10
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

# https://www.postgresql.org/docs/current/errcodes-appendix.html: classes connection exception,
# insufficient resources, system error; then server shut down, crashed or starting, session cut
# off, lock not available, statement timed out, serialization failure, deadlock.
_PASSING_CLASSES = ("08", "53", "58")
_PASSING = {
    *("57P01", "57P02", "57P03", "57P05", "25P03", "25P04"),
    *("55P03", "57014", "40001", "40P01"),
}
# Of a refused connection, libpq passes on only the text.
_REFUSED_FOR_GOOD = (
    *("password authentication failed", "no password supplied", "no pg_hba.conf entry"),
    *("does not exist", "not permitted to log in", "does not support SSL"),
    *("SCRAM authentication", "certificate verify failed", "permission denied for database"),
)


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
        event.listen(self.engine, "do_connect", _follow_server)

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
        """The start time of the server."""
        return _seconds("pg_postmaster_start_time()")

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
        event.listen(engine, "do_connect", _follow_server)
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
        if not isinstance(error.orig, psycopg.Error):
            return False
        code = error.orig.sqlstate
        if code is None:
            text = str(error.orig)
            connection = isinstance(error.orig, psycopg.OperationalError)
            return connection and not any(refusal in text for refusal in _REFUSED_FOR_GOOD)
        return code.startswith(_PASSING_CLASSES) or code in _PASSING

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


def _follow_server(
    dialect: object, record: object, arguments: object, parameters: dict[str, Any]
) -> None:
    """Connect to the current address of a personal server: it may have moved since."""
    moved = address_beside(Path(parameters.get("passfile", "")))
    if moved is not None:
        parameters["host"], parameters["port"] = moved


def _configure(connection: "psycopg.Connection[Any]", _: object) -> None:
    # Not as startup options, which connection poolers such as PgBouncer refuse; outside of a
    # transaction, whose rollback would take them back.
    connection.autocommit = True
    for name, value in SESSION.items():
        connection.execute(f"SET {name} = '{value}'")
    connection.autocommit = False
