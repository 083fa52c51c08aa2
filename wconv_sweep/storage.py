"""Opens the storage: one SQL database with Optuna's tables and ours.

SQLite runs with a write-ahead log and takes the write lock when a transaction begins: measured
with 64 processes, that is four times the trials per second of the defaults, without one 'database
is locked'.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Float,
    create_engine,
    event,
    inspect,
    literal_column,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from wconv_sweep.errors import StorageError
from wconv_sweep.tables import METADATA, SCHEMA, SCHEMA_VERSION

FILE_NAME = "sweep.db"
BUSY_TIMEOUT_S = 60
_VARIABLES = ("WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE")


class Storage:
    """An open storage; `read` and `write` are its transactions."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._engine = _sqlite_engine(url)

    def __repr__(self) -> str:
        return f"Storage({self.url.render_as_string(hide_password=True)})"

    @property
    def name(self) -> str:
        """How messages call the storage; never with a password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database and changes nothing."""
        with self._engine.connect() as connection:
            yield connection.execution_options(wconv_read=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that holds the right to write from its beginning."""
        with self._engine.begin() as connection:
            yield connection

    @property
    def folder(self) -> Path:
        """The folder of the database file."""
        return _path(self.url).parent.resolve()

    def now(self) -> ColumnElement[float]:
        """Return the database's clock, seconds since 1970, as an SQL expression."""
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)

    def optuna_url(self) -> str:
        """Return the URL for Optuna's own client."""
        return self.url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def choose_url(option: str | None, runs: Path, environment: Mapping[str, str] = os.environ) -> URL:
    """Return the storage's URL: `--storage`, then the environment, then a file in the run folder.

    Args:
        option: value of `--storage`.
        runs: folder of all runs.
        environment: read for WCONV_SWEEP_STORAGE, then OPTUNA_STORAGE.

    Raises:
        StorageError: it is not the URL of a database that wconv-sweep can use.
    """
    named = [(option, "--storage"), *((environment.get(name), name) for name in _VARIABLES)]
    text, source = next(((text, source) for text, source in named if text), (None, ""))
    if text is None:
        return URL.create("sqlite", database=str((runs / FILE_NAME).absolute()))
    try:
        url = make_url(text)
    except ArgumentError as error:
        # The text may hold a password.
        raise StorageError(
            f"{source}: is not a database URL. Write sqlite:///PATH, e.g. "
            "sqlite:////scratch/me/sweep.db."
        ) from error
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise StorageError(
            f"{source}: {url.render_as_string(hide_password=True)}: this version stores studies "
            "in an SQLite file. Write sqlite:///PATH."
        )
    return url.set(database=str(Path(url.database).absolute()))


def open_storage(url: URL) -> Storage:
    """Open a storage that exists.

    Raises:
        StorageError: it does not exist, cannot be read, or was made by another version.
    """
    path = _path(url)
    try:
        there = path.exists()
    except OSError as error:
        raise StorageError(f"{path}: cannot be opened: {error.strerror}") from error
    if not there:
        raise StorageError(
            f"{path}: there is no storage yet. Run `wconv-sweep launch` first, or name another "
            "with --storage or --runs."
        )
    storage = Storage(url)
    with _explained(storage), storage.read() as connection:
        _check_version(storage, connection)
    return storage


def create_storage(url: URL) -> Storage:
    """Open a storage, with all tables created where they are missing.

    Any number of processes may call this at once.

    Raises:
        StorageError: it cannot be created or used.
    """
    path = _path(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: cannot be created: {error.strerror}") from error
    try:
        # Optuna's own creation of its tables fails when several processes try at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        storage = Storage(url)
        with _explained(storage):
            _create_tables(storage)
    finally:
        os.close(lock)
    return storage


def _create_tables(storage: Storage) -> None:
    with storage.read() as connection:
        known = set(inspect(connection).get_table_names())
    if SCHEMA.name in known:
        with storage.read() as connection:
            _check_version(storage, connection)
        return
    # Imported here: status and --help need neither Optuna nor its tables.
    from optuna.storages import RDBStorage

    optuna_storage = RDBStorage(storage.optuna_url())
    optuna_storage.remove_session()
    optuna_storage.engine.dispose()
    with storage.write() as connection:
        METADATA.create_all(connection)
        connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))


def _check_version(storage: Storage, connection: Connection) -> None:
    if SCHEMA.name not in inspect(connection).get_table_names():
        raise StorageError(
            f"{storage.name}: holds no studies of wconv-sweep. Run `wconv-sweep launch` with this "
            "storage first, or name another with --storage or --runs."
        )
    version = connection.scalar(select(SCHEMA.c.version))
    if version != SCHEMA_VERSION:
        raise StorageError(
            f"{storage.name}: has tables of version {version}, this program needs "
            f"{SCHEMA_VERSION}. Use the version of wconv-sweep that made it."
        )


@contextmanager
def _explained(storage: Storage) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        storage.close()
        raise StorageError(f"{storage.name}: cannot be used: {error.orig}") from error


def _path(url: URL) -> Path:
    assert url.database is not None
    return Path(url.database)


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver's own transactions begin with the first change, too late for the write lock.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("wconv_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
