"""The user's own modules that a study trains: what belongs to them, and a lasting copy.

Pilots import the copy in the run folder: an edit of the modules changes nothing for a study
that was launched.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from wconv_jobs.files.atomic import create_folder_once
from wconv_sweep.errors import ConfigurationError

MAX_FILES = 2000
"""A folder with more is not one of modules, but somebody's home."""

_LEFT_OUT = {"__pycache__", "node_modules", "site-packages", "wconv_runs"}


def modules_sha256(folder: Path) -> str:
    """Return the hash of all modules in a folder, names and contents.

    Raises:
        ConfigurationError: there are too many, or one cannot be read.
    """
    content = hashlib.sha256()
    for path in _modules(folder):
        content.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        try:
            content.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise ConfigurationError(
                f"code: {path}: cannot be read: {error.strerror}. Make it readable."
            ) from error
    return content.hexdigest()


def frozen_modules(run_folder: Path, sha256: str) -> Path:
    """Return where the copy of modules with this hash lies."""
    return run_folder / "own_code" / sha256[:16]


def freeze_modules(folder: Path, run_folder: Path) -> Path:
    """Copy the modules into the run folder, once for each version; return the copy's folder.

    Any number of processes may call this at once.

    Raises:
        ConfigurationError: as `modules_sha256`, or they were changed meanwhile.
    """
    sha256 = modules_sha256(folder)

    def copy(target: Path) -> None:
        for path in _modules(folder):
            inside = target / path.relative_to(folder)
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, inside)
        if modules_sha256(target) != sha256:
            raise ConfigurationError(
                f"code: {folder} changed during the launch, so it is unknown what the pilots "
                "would run. Launch again."
            )

    frozen = frozen_modules(run_folder, sha256)
    create_folder_once(frozen, copy)
    return frozen


def _modules(folder: Path) -> list[Path]:
    found = sorted(_walk(folder))
    if len(found) > MAX_FILES:
        raise ConfigurationError(
            f"code: {folder} holds more than {MAX_FILES} modules. Choose a folder that holds the "
            "study's own modules and little else."
        )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in _LEFT_OUT and name[0] != "."]
        yield from (Path(parent, name) for name in files if name.endswith(".py"))
