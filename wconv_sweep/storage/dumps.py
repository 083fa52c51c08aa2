"""Copies the tables of a PostgreSQL database into a file and back, by PostgreSQL's programs."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from wconv_sweep.errors import StorageError
from wconv_sweep.server.programs import (
    BACKUP_PROGRAMS,
    INSTALL,
    Programs,
    find_programs,
    run_program,
)

# Of the file, by the third byte of its version: the first pg_restore that reads it.
_READERS = {15: 16, 16: 17}
_TIMEOUT = b"SET transaction_timeout = 0;\n"
_TIMEOUT_SINCE = 17
"""The first version that knows the setting."""

Connection: TypeAlias = psycopg.Connection[Any]


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server, and the way its programs connect to it."""

    connection: Connection
    option: str
    environment: dict[str, str]

    @property
    def major(self) -> int:
        """The version, as 15."""
        return self.connection.info.server_version // 10_000


def dump(server: Server, target: Path) -> None:
    """Copy the schema `public` into a file.

    Raises:
        StorageError: it failed, or there is no program for it.
    """
    options = ("--format=custom", "--no-owner", "--no-privileges", "--schema=public")
    _run(server, _fitting(server), "pg_dump", *options, f"--file={target}")


def load(server: Server, source: Path) -> None:
    """Copy the schema `public` from a file that `dump` wrote, all of it or nothing.

    Raises:
        StorageError: it failed, or there is no program for it.
    """
    programs = _fitting(server, _first_reader(source))
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--schema=public")
    if server.major >= _TIMEOUT_SINCE or programs.major < _TIMEOUT_SINCE:
        _run(server, programs, "pg_restore", *options, "--single-transaction", str(source))
        return
    # Such a pg_restore first sets what older servers refuse. As a script, that can be left out.
    with tempfile.TemporaryDirectory(prefix="wconv-sweep-") as folder:
        whole, script = Path(folder, "whole"), Path(folder, "script")
        run_program(programs.command("pg_restore", *options, f"--file={whole}", str(source)))
        with whole.open("rb") as lines, script.open("wb") as kept:
            for line in lines:
                if line == _TIMEOUT:
                    break
                kept.write(line)
            kept.writelines(lines)
        strict = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1")
        _run(server, programs, "psql", *strict, f"--file={script}")


@contextmanager
def connected(url: URL) -> Iterator[Server]:
    """Connect, and say how a program does so without a password in what others see of it."""
    options = {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in url.query.items()
    }
    parts = {
        "host": url.host,
        "port": url.port and str(url.port),
        "user": url.username,
        "dbname": url.database,
        "connect_timeout": "10",
        **options,
    }
    conninfo = make_conninfo(**{name: value for name, value in parts.items() if value})
    with (
        psycopg.connect(conninfo) as connection,
        tempfile.NamedTemporaryFile("w", prefix="wconv-sweep-", encoding="utf-8") as file,
    ):
        info = connection.info
        password = info.password.replace("\\", "\\\\").replace(":", "\\:")
        file.write(f"*:*:*:*:{password}\n")
        file.flush()
        # Not info.dsn: it has options that programs older than our libpq do not know.
        parts |= {"host": info.host, "port": str(info.port), "user": info.user, "passfile": None}
        dsn = make_conninfo(**{name: value for name, value in parts.items() if value})
        secure = {name: value for name, value in os.environ.items() if name.startswith("PGSSL")}
        yield Server(connection, f"--dbname={dsn}", secure | {"PGPASSFILE": file.name})


def _first_reader(source: Path) -> int:
    """Return the first version whose pg_restore reads a file."""
    with source.open("rb") as stream:
        head = stream.read(7)
    return _READERS.get(head[6], 0) if len(head) == 7 else 0


def _fitting(server: Server, oldest: int = 0) -> Programs:
    """Return the programs nearest to the version of a server.

    pg_dump reads servers up to its own version.

    Args:
        server: the server.
        oldest: version of programs that will do.

    Raises:
        StorageError: there are none.
    """
    version = max(server.major, oldest)
    found: Sequence[Programs] = find_programs(BACKUP_PROGRAMS)
    fitting = sorted((item for item in found if item.major >= version), key=lambda i: i.major)
    if not fitting:
        if oldest > server.major:
            raise StorageError(
                f"the file is of PostgreSQL {oldest} or newer, and no pg_restore of that is "
                f"found. {INSTALL}."
            )
        raise StorageError(
            f"the server is PostgreSQL {version}, and no {' or '.join(BACKUP_PROGRAMS)} of this "
            f"version or a newer one is found. {INSTALL}."
        )
    return fitting[0]


def _run(server: Server, programs: Programs, name: str, *arguments: str) -> None:
    command = programs.command(name, "--no-password", server.option, *arguments)
    run_program(command, extra=server.environment)
