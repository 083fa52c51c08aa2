"""Copies a storage into one file, and back: while studies run, and all of it or nothing."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL

from wconv_jobs.files.atomic import place_new, sync, unfinished_name
from wconv_sweep.errors import StorageError
from wconv_sweep.storage.dumps import Connection, Server, connected, dump, load
from wconv_sweep.storage.tables import STUDIES
from wconv_sweep.storage.url import is_sqlite

_BUSY_TIMEOUT_S = 60
_SQLITE, _POSTGRESQL = b"SQLite format 3\0", b"PGDMP"
_ASIDE = "wconv_sweep_aside"
"""Schema that keeps the replaced tables until a restore has succeeded."""


def backup(url: URL, target: Path, *, force: bool = False) -> int:
    """Copy a storage into a file, in the state of one moment.

    Args:
        url: of the storage.
        target: the file.
        force: replace it where it exists.

    Returns:
        The number of studies.

    Raises:
        StorageError: the storage cannot be read, or the file not written; it is then as before.
    """
    if target.exists() and not force:
        raise StorageError(
            f"{target}: already exists. Choose another file, or replace it with --force."
        )
    with _appearing(target, force) as new:
        if is_sqlite(url):
            return _backup_sqlite(_sqlite_path(url), new)
        with _explained(url.render_as_string(hide_password=True)), connected(url) as server:
            studies = _count(server.connection)
            dump(server, new)
        return studies


def restore(url: URL, source: Path, *, force: bool = False) -> int:
    """Restore a storage from a file that `backup` wrote.

    Args:
        url: of the storage: an SQLite file that is absent, or an empty database of PostgreSQL.
        source: the file.
        force: replace what the storage holds.

    Returns:
        The number of studies.

    Raises:
        StorageError: the file or the storage cannot be used; the storage is then as before.
    """
    try:
        with source.open("rb") as stream:
            head = stream.read(len(_SQLITE))
    except OSError as error:
        raise StorageError(
            f"{source}: cannot be read: {error.strerror}. Choose another file."
        ) from error
    if not head.startswith((_SQLITE, _POSTGRESQL)):
        raise StorageError(
            f"{source}: was not written by `wconv-sweep db backup`. Choose another file."
        )
    if head.startswith(_SQLITE) != is_sqlite(url):
        kinds = ("SQLite", "PostgreSQL") if head.startswith(_SQLITE) else ("PostgreSQL", "SQLite")
        raise StorageError(
            f"{source}: is a backup of {kinds[0]}, but the storage is of {kinds[1]}. Choose a "
            f"storage of {kinds[0]} with --storage or --folder."
        )
    if is_sqlite(url):
        return _restore_sqlite(_sqlite_path(url), source, force)
    with _explained(url.render_as_string(hide_password=True)), connected(url) as server:
        return _restore_postgresql(server, source, force)


def _backup_sqlite(path: Path, new: Path) -> int:
    if not path.exists():
        raise StorageError(f"{path}: there is no storage. Choose one with --storage or --runs.")
    with _explained(str(path)), closing(_open(path)) as origin, closing(_open(new)) as copy:
        studies = int(origin.execute(f"SELECT count(*) FROM {STUDIES.name}").fetchone()[0])
        origin.backup(copy)
        # One file, that can also be read where nothing can be written.
        copy.execute("PRAGMA journal_mode=DELETE")
    return studies


def _restore_sqlite(path: Path, source: Path, force: bool) -> int:
    if path.exists() and not force:
        raise StorageError(
            f"{path}: already exists. Choose another storage with --storage, or replace "
            "what it holds with --force."
        )
    with _explained(str(source)), closing(_open(source, "ro")) as origin:
        found = origin.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise StorageError(f"{source}: is damaged: {found}. Use another backup.")
        studies = int(origin.execute(f"SELECT count(*) FROM {STUDIES.name}").fetchone()[0])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be created: {error.strerror}. Choose another --storage."
            ) from error
        if path.exists():
            # Not a new file in its place: who has the old one open would write to it for ever.
            with _explained(str(path)), closing(_open(path)) as storage:
                origin.backup(storage)
        else:
            # The log of a database that was deleted would be applied to this one.
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            with _appearing(path, force) as new, closing(_open(new)) as storage:
                origin.backup(storage)
    return studies


def _restore_postgresql(server: Server, source: Path, force: bool) -> int:
    connection, info = server.connection, server.connection.info
    if _holds(connection, _ASIDE):
        # An earlier restore was killed, before or after it came to its end.
        if _holds(connection, "public"):
            connection.execute(f"DROP SCHEMA {_ASIDE} CASCADE")
        else:
            _put_back(connection)
        connection.commit()
    if _holds(connection, "public") and not force:
        raise StorageError(
            f"the database {info.dbname} on {info.host} is not empty. Choose another storage with "
            "--storage or --folder, or replace what it holds with --force."
        )
    with _explained(f"the database {info.dbname} on {info.host}"):
        connection.execute(f"ALTER SCHEMA public RENAME TO {_ASIDE}")
        connection.execute("CREATE SCHEMA public")
        connection.commit()
    try:
        load(server, source)
        studies = _count(connection)
    except BaseException:
        connection.rollback()
        _put_back(connection)
        connection.commit()
        raise
    connection.execute(f"DROP SCHEMA {_ASIDE} CASCADE")
    connection.commit()
    return studies


def _holds(connection: Connection, schema: str) -> bool:
    query = "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    row = connection.execute(query + "WHERE nspname = %s", [schema]).fetchone()
    return row is not None and row[0] > 0


def _put_back(connection: Connection) -> None:
    connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
    connection.execute(f"ALTER SCHEMA {_ASIDE} RENAME TO public")


@contextmanager
def _appearing(target: Path, force: bool) -> Iterator[Path]:
    """Yield an empty file that becomes `target` in the end, or leaves no trace."""
    new = unfinished_name(target)
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StorageError(
            f"{target}: cannot be written: {error.strerror}. Choose another file."
        ) from error
    try:
        yield new
        sync(new)
        if force:
            new.replace(target)
        else:
            place_new(new, target)
    except OSError as error:
        raise StorageError(
            f"{target}: cannot be written: {error.strerror}. Choose another file."
        ) from error
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, psycopg.Error) as error:
        text = " ".join(str(error).split())
        if isinstance(error, psycopg.errors.UndefinedTable) or "no such table" in text:
            text = "holds no studies of wconv-sweep"
        raise StorageError(f"{name}: cannot be used: {text}. Choose another.") from error


def _count(connection: Connection) -> int:
    row = connection.execute(f"SELECT count(*) FROM public.{STUDIES.name}").fetchone()
    # pg_dump and pg_restore must not wait for locks of this transaction.
    connection.commit()
    assert row is not None
    return int(row[0])


def _open(path: Path, mode: str = "rw") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", timeout=_BUSY_TIMEOUT_S, uri=True
    )


def _sqlite_path(url: URL) -> Path:
    assert url.database is not None
    return Path(url.database)
