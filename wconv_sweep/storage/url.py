"""Chooses the storage's URL; its results hold no password."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from wconv_sweep.errors import StorageError
from wconv_sweep.published import published_url
from wconv_sweep.storage.credentials import without_password

FILE_NAME = "sweep.db"
SQLITE = "sqlite"
POSTGRES = "postgresql+psycopg"

_VARIABLES = ("WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE")
_PROFILE = "storage of the cluster profile"
_FORMS = "Write sqlite:///PATH or postgresql://USER@HOST:PORT/DATABASE"
# libpq takes them relative to the current folder, which differs in a pilot.
_FILES = ("passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "servicefile")


def choose_url(
    option: str | None,
    runs: Path,
    environment: Mapping[str, str] = os.environ,
    *,
    profile: str | None = None,
) -> URL:
    """Return the storage's URL.

    The first that is given: `--storage`, WCONV_SWEEP_STORAGE, OPTUNA_STORAGE, the cluster profile,
    a server that `db start --job` has published, a file in the folder of all runs. A password that
    stands in a variable is moved to a file that only its owner can read.

    Args:
        option: value of `--storage`.
        runs: folder of all runs.
        environment: the variables.
        profile: `storage` of the cluster profile, where the command has one.

    Raises:
        StorageError: it is not the URL of a database that wconv-sweep can use, or holds a password
            that others can read.
    """
    named = [
        (option, "--storage"),
        *((environment.get(name), name) for name in _VARIABLES),
        (profile, _PROFILE),
    ]
    text, source = next(((text, source) for text, source in named if text), (None, ""))
    if text is None:
        text, source = published_url(runs), "the published database server"
    if text is None:
        return URL.create(SQLITE, database=str((runs / FILE_NAME).absolute()))
    url = _parsed(text, source)
    if is_sqlite(url):
        return url
    if source not in _VARIABLES and _has_password(url):
        raise StorageError(
            f"{source}: holds a password, which others can read "
            f"{'in the list of processes' if source == '--storage' else 'in this file'}. Leave "
            "it out and put it into ~/.pgpass, a file of mode 0600 with the line "
            f"HOST:PORT:DATABASE:USER:PASSWORD, or set {_VARIABLES[0]} to the whole URL instead."
        )
    return without_password(url, runs, source)


def is_sqlite(url: URL) -> bool:
    """Return whether the storage is an SQLite file, otherwise a PostgreSQL server."""
    return url.get_backend_name() == "sqlite"


def is_local_server(url: URL, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the URL leads to the local machine, on every machine."""
    query = url.normalized_query
    if "service" in query:
        return False
    hosts = [*query.get("hostaddr", ()), *query.get("host", ()), *(url.host or "").split(",")]
    hosts = [host for host in hosts if host] or environment.get("PGHOST", "").split(",")
    return all(_is_loopback(host) for host in hosts)


def _parsed(text: str, source: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The text, and the parser's message about it, may hold a password.
        raise StorageError(f"{source}: is not a database URL. {_FORMS}.") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StorageError(f"{source}: names no file. Write sqlite:///PATH.")
        return url.set(database=str(Path(url.database).absolute()))
    if backend not in ("postgresql", "postgres"):
        raise StorageError(f"{source}: {backend} is not a database for studies. {_FORMS}.")
    if "@" in (url.host or "") or "@" in (url.database or ""):
        # A password with an @ in it: its end would be taken for the host, and shown.
        raise StorageError(
            f"{source}: is not a database URL: there are two @ in it. Write an @ in the user "
            "name or the password as %40."
        )
    if not url.database:
        raise StorageError(
            f"{source}: names no database. Write postgresql://USER@HOST:PORT/DATABASE."
        )
    if "sslpassword" in url.query:
        raise StorageError(
            f"{source}: sslpassword would be visible to others. Use a key without "
            "one, of mode 0600."
        )
    files = {
        name: str(Path(value[-1]).expanduser().absolute())
        for name, value in url.normalized_query.items()
        if name in _FILES and value[-1] not in ("", "system")
    }
    return url.set(drivername=POSTGRES).update_query_dict(files)


def _has_password(url: URL) -> bool:
    return bool(url.password) or "password" in url.query


def _is_loopback(host: str) -> bool:
    # No host, a folder, or a name in the abstract namespace: a Unix socket.
    if host in ("", "localhost") or host.startswith(("/", "@")) or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
