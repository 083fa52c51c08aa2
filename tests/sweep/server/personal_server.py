"""Servers of `wconv-sweep db start` for tests: each in a folder of its own, stopped in the end."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from wconv_sweep.server.folder import ServerFolder

AS_ROOT = os.geteuid() == 0
USER = "nobody" if AS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
"""The servers run as this user, as PostgreSQL does not run as root."""

WHEEL_ONLY: dict[str, object] = {
    "wconv_sweep.server.programs._USUAL_PLACES": (),
    "wconv_sweep.server.programs._on_path": "lambda name, environment: []",
}
"""Patches after which only the programs of the extra `postgres` are found."""


class PersonalServer:
    """The command `db` in a folder that its user may enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = ServerFolder(folder)
        self.patches: dict[str, object] = {}
        """Attributes of modules of wconv_sweep that the command runs with, by dotted name."""

    def run(self, verb: str, *arguments: str, status: int = 0) -> str:
        """Run `db VERB` to its end; return what it printed, only its errors for status 2."""
        with self.begin(verb, *arguments) as process:
            output, errors = process.communicate(timeout=120)
        assert process.returncode == status, (output, errors)
        return errors if status == 2 else output + errors

    def begin(self, verb: str, *arguments: str) -> "subprocess.Popen[str]":
        """Begin to run `db VERB`."""
        lines = ["from importlib import import_module"]
        for name, value in self.patches.items():
            module, _, attribute = name.rpartition(".")
            lines.append(f"setattr(import_module('{module}'), '{attribute}', {value})")
        lines.append("from wconv_sweep.cli.app import main; main()")
        # A storage of whoever runs the tests is none of ours.
        environment = {name: text for name, text in os.environ.items() if "STORAGE" not in name}
        return subprocess.Popen(
            [
                *(sys.executable, "-c", "\n".join(lines)),
                *("db", verb, *arguments, "--folder", str(self.folder)),
            ],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def start(self, *arguments: str) -> str:
        """Start the server and return the URL that was printed."""
        user = ["--user", USER] if AS_ROOT else []
        output = self.run("start", *user, *arguments)
        (line,) = [line for line in output.splitlines() if line.startswith("Storage: ")]
        return line.split(maxsplit=1)[1]

    def facts(self, *, running: bool = True) -> dict[str, Any]:
        """Return what `db status --json` says."""
        found: dict[str, Any] = json.loads(
            self.run("status", "--json", status=0 if running else 1)
        )
        return found

    def kill(self) -> None:
        """Kill all processes of the server at once."""
        while processes := self.place.processes():
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def as_user(self, *command: str) -> "subprocess.Popen[bytes]":
        """Begin to run a program as the user of the server."""
        return subprocess.Popen(command, user=USER if AS_ROOT else None)


@contextmanager
def personal_server(name: str = "postgres") -> Iterator[PersonalServer]:
    """Give a server that has not been made yet, and end it whatever happens."""
    # Not tmp_path, which only its owner may enter.
    above = Path(tempfile.mkdtemp(prefix="wconv-sweep-test-"))
    above.chmod(0o755)
    if AS_ROOT:
        shutil.chown(above, USER)
    server = PersonalServer(above / name)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(above)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds, through psycopg alone."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []
