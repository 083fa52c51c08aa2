"""Keeps passwords out of URLs: they lie in files that only their owner can read.

libpq, and with it every client of PostgreSQL, reads such a file by itself: ~/.pgpass, or the one
that PGPASSFILE or the URL's `passfile` names. One line per server:
`HOST:PORT:DATABASE:USER:PASSWORD`.
"""

import fcntl
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.errors import StorageError

FILE_NAME = "storage.pgpass"


def without_password(url: URL, folder: Path, source: str) -> URL:
    """Return the URL without its password, which is written to a file that the URL names.

    Args:
        url: of a PostgreSQL server.
        folder: gets the file; made where it is missing.
        source: of the URL, for messages.

    Raises:
        StorageError: the file cannot be written so that no other user can read or replace it.
    """
    passwords = [*filter(None, [url.password]), *url.normalized_query.get("password", ())]
    bare = url._replace(password=None).difference_update_query(["password"])
    if not passwords:
        return bare
    password = passwords[-1]
    if not password.isprintable():
        raise StorageError(
            f"{source}: the password holds a line break or the like, which no password file can "
            "hold. Change it."
        )
    path = (folder / FILE_NAME).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_folder(path.parent)
        _write_entry(path, _key(bare), password)
    except OSError as error:
        raise StorageError(
            f"{path}: the password of {source} cannot be written to it ({error.strerror}). Choose "
            "a folder of yours with --runs, or put the password into ~/.pgpass."
        ) from error
    return bare.update_query_dict({"passfile": str(path)})


def check_passfile(url: URL, environment: Mapping[str, str] = os.environ) -> None:
    """Raise `StorageError` if libpq would ignore the password file.

    It does so for a file that others can read, says a line about it on stderr, and then reports
    that no password was given.
    """
    named = url.normalized_query.get("passfile", ())
    if named:
        path = Path(named[-1])
        if not path.exists():
            raise StorageError(
                f"{path}: the file with the password of the storage is gone. Set "
                "WCONV_SWEEP_STORAGE to the URL with the password again, or use ~/.pgpass."
            )
    elif environment.get("PGPASSWORD"):
        return
    else:
        path = Path(environment.get("PGPASSFILE") or os.path.expanduser("~/.pgpass"))
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        raise StorageError(
            f"{path}: others can read or change this file with passwords, so PostgreSQL's client "
            f"does not use it. Run: chmod 600 {path}"
        )


def _key(url: URL) -> str:
    """Return the start of the server's line."""
    query = url.normalized_query
    several = "host" in query or "hostaddr" in query or "," in (url.host or "")
    host = "*" if several or not url.host else url.host
    port = "*" if several or not url.port else str(url.port)
    fields = (host, port, url.database or "*", url.username or "*")
    return "".join(f"{field if field == '*' else _escaped(field)}:" for field in fields)


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\").replace(":", "\\:")


def _check_folder(folder: Path) -> None:
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StorageError(
            f"{folder}: anyone may replace files in it, so no password is written there. Run "
            f"chmod o-w {folder}, or choose another folder with --runs."
        )


def _write_entry(path: Path, key: str, password: str) -> None:
    entry = key + _escaped(password)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = _own_lines(path)
        # The first matching line counts, so one with a `*` must not stand before others.
        others = [line for line in before if line and not line.startswith(key)]
        lines = [*others, entry] if "*" in key else [entry, *others]
        if lines == before:
            return
        text = "".join(f"{line}\n" for line in lines)
        replace_file(path, text, mode=0o600, durable=True)
    finally:
        os.close(lock)


def _own_lines(path: Path) -> list[str]:
    """Return the lines of the file; none if another user can have written it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return []
    ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or stat.S_IMODE(found.st_mode) & 0o077:
        return []
    return path.read_text("utf-8").splitlines()
