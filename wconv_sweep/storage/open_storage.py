"""Opens the storage: one SQL database with Optuna's tables and ours.

The differences between databases are in `sqlite_backend` and `postgres_backend`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, Engine
from sqlalchemy.exc import DBAPIError

from wconv_sweep.errors import StorageAway, StorageError
from wconv_sweep.storage import migrations
from wconv_sweep.storage.backoff import pauses
from wconv_sweep.storage.url import choose_url, is_sqlite

__all__ = [
    "Storage",
    "choose_url",
    "create_storage",
    "has_storage",
    "open_storage",
    "upgrade_storage",
]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0

T = TypeVar("T")


class Backend(Protocol):
    """The interface of a database; the implementations document the details."""

    engine: Engine
    optuna_shares_engine: bool

    @property
    def folder(self) -> Path: ...
    @property
    def now(self) -> ColumnElement[float]: ...
    @property
    def up_since(self) -> ColumnElement[float] | None: ...
    @property
    def optuna_arguments(self) -> dict[str, Any]: ...
    def is_there(self) -> bool: ...
    def reading(self, connection: Connection) -> Connection: ...
    def alone(self) -> AbstractContextManager[None]: ...
    def is_passing(self, error: DBAPIError) -> bool: ...
    def refusal(self, error: DBAPIError) -> str | None: ...


class Storage:
    """An open storage; `read` and `write` are its transactions.

    Threads take turns, so that a process holds one connection however many lanes it has.
    """

    def __init__(self, url: URL) -> None:
        """
        Args:
            url: as `choose_url` returns it, without a password.
        """
        self.url = url
        self._turn = threading.RLock()
        self._backend = _backend_of(url)

    def __repr__(self) -> str:
        return f"Storage({self.name})"

    @property
    def name(self) -> str:
        """The URL, also for messages and for the orders of pilots; never with a password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def folder(self) -> Path:
        """The folder that paths in the database are relative to, see `stored_path`."""
        return self._backend.folder

    def stored_path(self, path: Path) -> str:
        """Return the form of a path in the database.

        With an SQLite file it is relative to the file's folder, so that both may be moved; on a
        server, which lies in no folder of the user's, it is absolute.
        """
        if is_sqlite(self.url):
            return os.path.relpath(path.absolute(), self.folder)
        return str(path.absolute())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database and changes nothing.

        Raises:
            StorageAway: the database cannot be reached at the moment.
        """
        with self._turn, self._named_errors(), self._backend.engine.connect() as connection:
            yield self._backend.reading(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may change the database.

        On SQLite it holds the right to write from its start. On PostgreSQL others write
        meanwhile: a decision that rests on rows which others may change must lock these rows
        (`with_for_update`) before it reads them.

        Raises:
            StorageAway: the database cannot be reached just now; when the COMMIT was not answered
                the transaction may have taken place.
        """
        with self._turn, self._named_errors(), self._backend.engine.begin() as connection:
            yield connection

    def alone(self) -> AbstractContextManager[None]:
        """Let one process at a time do something beside transactions; others wait.

        On PostgreSQL that holds for all machines, on SQLite for this one, as the file does.
        """
        return self._backend.alone()

    def retrying(
        self,
        function: Callable[[], T],
        *,
        patience_s: float,
        wait: Callable[[float], object] = time.sleep,
    ) -> T:
        """Return the result of a function, calling it again while the storage is away.

        The function holds whole transactions, of ours or of Optuna's client, and must be
        repeatable: a COMMIT whose answer was lost may have taken place, so what it did must be
        recognized, refused or harmless the second time.

        Args:
            function: is called at least once.
            patience_s: time after which no further try starts.
            wait: lets some seconds pass; a true answer ends the patience, as that of
                `threading.Event.wait` does when the event has come.

        Raises:
            StorageAway: the storage was away all the time.
        """
        deadline = time.monotonic() + patience_s
        for pause in pauses(_FIRST_PAUSE_S, _LONGEST_PAUSE_S):
            try:
                with self._named_errors():
                    return function()
            except StorageAway:
                left = deadline - time.monotonic()
                if left <= 0 or wait(min(pause, left)):
                    raise
        raise AssertionError("pauses never end")

    def now(self) -> ColumnElement[float]:
        """Return the database's clock, seconds since 1970, as an SQL expression."""
        return self._backend.now

    def up_since(self) -> ColumnElement[float] | None:
        """Return the start time of the database's server, also as SQL; None without a server."""
        return self._backend.up_since

    def optuna_url(self) -> str:
        """Return the URL for Optuna's own client."""
        # Optuna fills in {SCHEMA_VERSION}.
        return self.name.replace("{", "{{").replace("}", "}}")

    @property
    def optuna_arguments(self) -> dict[str, Any]:
        """Arguments for the engine of Optuna's client, until it gets ours."""
        return self._backend.optuna_arguments

    @property
    def engine_for_optuna(self) -> Engine | None:
        """The engine that Optuna's client shares; None if it needs its own."""
        return self._backend.engine if self._backend.optuna_shares_engine else None

    def close(self) -> None:
        """Close every connection."""
        self._backend.engine.dispose()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Translate errors that a retry or a user can handle, also those that Optuna wraps.

        Raises:
            StorageAway: it may be over later.
            StorageError: somebody else has to allow it.
        """
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            cause = _database_error(error)
            refusal = None if cause is None else self._backend.refusal(cause)
            if refusal is not None:
                raise StorageError(refusal) from error
            if cause is None or not self._backend.is_passing(cause):
                raise
            raise StorageAway(
                f"{self.name}: cannot be used at the moment: {_line(cause)}. Try again later."
            ) from error


def open_storage(url: URL, *, patience_s: float = 0.0) -> Storage:
    """Open a storage that exists.

    Args:
        url: as `choose_url` returns it.
        patience_s: time to wait for a server that is away.

    Raises:
        StorageAway: it cannot be reached at the moment.
        StorageError: it does not exist, cannot be read, or was made by another version.
    """
    storage = Storage(url)

    def check() -> None:
        with storage.read() as connection:
            migrations.check_version(connection, storage.name)

    with _closed_on_error(storage):
        _check_there(storage)
        storage.retrying(check, patience_s=patience_s)
    return storage


def create_storage(url: URL) -> Storage:
    """Open a storage, creating missing tables.

    Any number of processes may call this at once.

    Raises:
        StorageError: it cannot be created or used.
    """
    storage = Storage(url)
    # Optuna's own creation of its tables fails when several processes try at once.
    with _closed_on_error(storage), storage._named_errors(), storage.alone():
        with storage.read() as connection:
            there = migrations.holds_our_tables(connection)
            if there:
                migrations.check_version(connection, storage.name)
        if not there:
            _create_optuna_tables(storage)
            with storage.write() as connection:
                migrations.check_optuna_version(connection, storage.name)
                migrations.create_tables(connection)
    return storage


def has_storage(url: URL) -> bool:
    """Return whether a database exists and is a storage.

    Raises:
        StorageError: it cannot be read.
    """
    storage = Storage(url)
    with _closed_on_error(storage):
        there = storage._backend.is_there()
        if there:
            with storage.read() as connection:
                there = migrations.holds_our_tables(connection)
    storage.close()
    return there


def upgrade_storage(url: URL) -> tuple[int, int]:
    """Upgrade the tables to the version of this program; return the version before and after.

    All or nothing.

    Raises:
        StorageError: it does not exist, pilots are running, or a newer program made it.
    """
    storage = Storage(url)
    with _closed_on_error(storage):
        _check_there(storage)
        with storage._named_errors(), storage.alone(), storage.write() as connection:
            versions = migrations.upgrade_tables(connection, storage.name, storage.now())
            migrations.check_optuna_version(connection, storage.name)
    storage.close()
    return versions


def _check_there(storage: Storage) -> None:
    """Raise `StorageError` if opening would create a file."""
    if not storage._backend.is_there():
        raise StorageError(
            f"{storage.url.database}: there is no storage yet. Run `wconv-sweep launch` first, or "
            "name another with --storage or --runs."
        )


def _backend_of(url: URL) -> Backend:
    # Imported here: the drivers of the two take as long as the rest of the storage.
    if is_sqlite(url):
        from wconv_sweep.storage.sqlite_backend import SqliteBackend

        return SqliteBackend(url)
    from wconv_sweep.storage.postgres_backend import PostgresBackend

    return PostgresBackend(url)


def _create_optuna_tables(storage: Storage) -> None:
    # Imported here: status and --help need neither Optuna nor its tables.
    from optuna.storages import RDBStorage

    try:
        client = RDBStorage(storage.optuna_url(), engine_kwargs=storage.optuna_arguments)
    except RuntimeError as error:
        raise StorageError(
            f"{storage.name}: Optuna's tables are of another version than this program's Optuna. "
            "Make a backup and run `optuna storage upgrade`, or choose another storage."
        ) from error
    client.remove_session()
    client.engine.dispose()


@contextmanager
def _closed_on_error(storage: Storage) -> Iterator[None]:
    """Close the storage if it cannot be used, and explain errors of the database."""
    try:
        yield
    except Exception as error:
        storage.close()
        cause = _database_error(error)
        if isinstance(error, StorageError) or cause is None:
            raise
        raise StorageError(
            f"{storage.name}: cannot be used: {_line(cause)}. Check it, or choose another storage."
        ) from error


def _database_error(error: BaseException | None) -> DBAPIError | None:
    """Return the error of the database among the causes of an error."""
    while error is not None and not isinstance(error, DBAPIError):
        error = error.__cause__
    return error


def _line(error: DBAPIError) -> str:
    """Return the database's message, in one line."""
    # libpq adds a question to its message, on a line of its own.
    lines = [line for line in str(error.orig).splitlines() if not line.startswith("\t")]
    return " ".join(" ".join(lines).split()).rstrip(".")
