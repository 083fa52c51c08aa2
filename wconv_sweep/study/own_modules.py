"""The user's own modules that a study trains: what belongs to them, and a lasting copy.

Pilots import the copy in the run folder: an edit of the modules changes nothing for a study
that was launched. Small files that modules may read, such as a table beside them, belong to them.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wconv_jobs import own_code
from wconv_jobs.files.atomic import create_folder_once, replace_file
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import is_run_folder

MAX_FILES = 2000
"""A folder with more is not one of modules, but somebody's home."""

MAX_FILE_BYTES = 1_000_000
"""Of a file beside the modules; larger ones are data, and stay where they are."""
BESIDE = (
    *(".cfg", ".csv", ".ini", ".json", ".npy", ".npz", ".pt", ".pth", ".safetensors"),
    *(".toml", ".tsv", ".txt", ".yaml", ".yml"),
)
"""Endings of the files that belong to the modules; a study file is none of them."""

_LEFT_OUT = {"__pycache__", "node_modules", "site-packages", "wconv_runs"}


def modules_sha256(folder: Path, run_folder: Path | None = None) -> str:
    """Return the hash of all modules in a folder, and of what they may read: names and contents.

    Args:
        folder: holds the modules.
        run_folder: of a study that may have been launched. If all files of its copy are as they
            were, their hash is returned: what other tools have written into the folder since
            changes nothing.

    Raises:
        ConfigurationError: there are too many, or one cannot be read.
    """
    now = _sha256(folder, _files(folder))
    if run_folder is None or frozen_modules(run_folder, now).is_dir():
        return now
    for frozen in sorted(_copies(run_folder)):
        there = [folder / path.relative_to(frozen) for path in _files(frozen)]
        if all(path.is_file() for path in there):
            before = _sha256(folder, there)
            if frozen_modules(run_folder, before) == frozen:
                return before
    return now


@contextmanager
def as_pilots_see_it(folder: Path | None) -> Iterator[None]:
    """Make the user's modules importable from a copy that holds what a launch would copy."""
    if folder is None:
        yield
        return
    loaded = set(sys.modules)
    with (
        tempfile.TemporaryDirectory() as name,
        own_code.folder_added(freeze_modules(folder, Path(name).resolve())),
    ):
        try:
            yield
        finally:
            # Those of another study may have the same names.
            for module in set(sys.modules) - loaded:
                origin = getattr(sys.modules[module], "__file__", None)
                if origin and Path(origin).is_relative_to(Path(name).resolve()):
                    del sys.modules[module]


def _sha256(folder: Path, files: Sequence[Path]) -> str:
    content = hashlib.sha256()
    for path in files:
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
    return run_folder / _COPIES / sha256[:16]


def freeze_modules(folder: Path, run_folder: Path) -> Path:
    """Copy the modules into the run folder, once for each version; return the copy's folder.

    Any number of processes may call this at once.

    Raises:
        ConfigurationError: as `modules_sha256`, or they were changed meanwhile.
    """
    sha256 = modules_sha256(folder, run_folder)

    def copy(target: Path) -> None:
        for path in _files(folder):
            inside = target / path.relative_to(folder)
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, inside)
        if modules_sha256(target) != sha256:
            raise ConfigurationError(
                f"code: {folder} changed during the launch, so it is unknown what the pilots "
                "would run. Launch again."
            )

    frozen = frozen_modules(run_folder, sha256)
    if not frozen.is_dir():
        # First, for the hash of a copy that a program has begun to write into.
        _list_of(frozen).parent.mkdir(parents=True, exist_ok=True)
        listed = [path.relative_to(folder).as_posix() for path in _files(folder)]
        replace_file(_list_of(frozen), json.dumps(listed) + "\n")
    create_folder_once(frozen, copy)
    return frozen


_COPIES = "own_code"
_LISTS = "own_code_files"
"""Folder of the names of the files in each copy."""


def _copies(run_folder: Path) -> list[Path]:
    folder = run_folder / _COPIES
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _files(folder: Path) -> list[Path]:
    """Return the files that belong to a folder; of a copy those that were copied, for programs may
    write beside them."""
    if folder.parent.name == _COPIES and _list_of(folder).is_file():
        listed: list[str] = json.loads(_list_of(folder).read_text("utf-8"))
        return [folder / name for name in listed]
    return [*_modules(folder), *_beside(folder)]


def _list_of(frozen: Path) -> Path:
    return frozen.parent.with_name(_LISTS) / f"{frozen.name}.json"


def _modules(folder: Path) -> list[Path]:
    found = sorted(_walk(folder, (".py",)))
    if len(found) > MAX_FILES:
        raise ConfigurationError(
            f"code: {folder} holds more than {MAX_FILES} modules. Choose a folder that holds the "
            "study's own modules and little else."
        )
    return found


def _beside(folder: Path) -> list[Path]:
    """Return the small files that modules may read; of too many, as in a data set, none."""
    found = sorted(
        path
        for path in _walk(folder, BESIDE)
        if path.stat().st_size <= MAX_FILE_BYTES
        and os.access(path, os.R_OK)
        and not _is_study(path)
    )
    return found if len(found) <= MAX_FILES else []


def _is_study(path: Path) -> bool:
    """Return whether a file is that of a study, whose budget may grow."""
    is_yaml = path.suffix in (".yaml", ".yml")
    return is_yaml and re.search(rb"^study:", path.read_bytes(), re.MULTILINE) is not None


def _walk(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files or is_run_folder(Path(parent)):
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in _LEFT_OUT and name[0] != "."]
        yield from (
            path
            for name in files
            if name.endswith(endings) and (path := Path(parent, name)).is_file()
        )
