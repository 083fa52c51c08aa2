"""The user's own modules that a study trains: what belongs to them, and a lasting copy.

Pilots run the copy in the run folder: an edit of the code changes nothing for a study that was
launched. What belongs to the code says `wconv_sweep.study.code_files`.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wconv_jobs import own_code
from wconv_jobs.files.atomic import create_folder_once, replace_file
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.code_files import MODULES, CodeFile, CodeRule, link_target


def modules_sha256(folder: Path, run_folder: Path | None = None, rule: CodeRule = MODULES) -> str:
    """Return the hash of the code in a folder: names and contents, and where links lead.

    Args:
        folder: holds the code.
        run_folder: of a study that may have been launched. If all files of its copy are as they
            were, their hash is returned: what other tools have written into the folder since
            changes nothing.
        rule: which files belong to the code.

    Raises:
        ConfigurationError: there are too many, or one cannot be read.
    """
    now = _sha256(folder, _files(folder, rule))
    if run_folder is None or frozen_modules(run_folder, now).is_dir():
        return now
    for frozen in sorted(_copies(run_folder)):
        there = [_again(folder, each) for each in _files(frozen, rule)]
        if all((folder / each.name).exists() for each in there):
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


def _sha256(folder: Path, files: Sequence[CodeFile]) -> str:
    content = hashlib.sha256()
    for each in files:
        content.update(f"{each.name}\0".encode())
        try:
            data = (folder / each.name).read_bytes() if each.target is None else _link(each)
        except OSError as error:
            raise ConfigurationError(
                f"code: {folder / each.name}: cannot be read: {error.strerror}. Make it readable."
            ) from error
        content.update(hashlib.sha256(data).digest())
    return content.hexdigest()


def _link(file: CodeFile) -> bytes:
    return b"link to " + os.fsencode(file.target or "")


def _again(folder: Path, before: CodeFile) -> CodeFile:
    """Return a file of a copy as it would be copied now."""
    return replace(before, target=before.target and link_target(folder, before.name))


def frozen_modules(run_folder: Path, sha256: str) -> Path:
    """Return where the copy of modules with this hash lies."""
    return run_folder / _COPIES / sha256[:16]


def freeze_modules(folder: Path, run_folder: Path, rule: CodeRule = MODULES) -> Path:
    """Copy the code into the run folder, once for each version; return the copy's folder.

    Any number of processes may call this at once.

    Raises:
        ConfigurationError: as `modules_sha256`, or they were changed meanwhile.
    """
    sha256 = modules_sha256(folder, run_folder, rule)

    def copy(target: Path) -> None:
        files = _files(folder, rule)
        for each in files:
            inside = target / each.name
            inside.parent.mkdir(parents=True, exist_ok=True)
            if each.target is None:
                shutil.copy(folder / each.name, inside)
            else:
                inside.symlink_to(Path(os.path.relpath(target, inside.parent), each.target))
        if _sha256(target, files) != sha256:
            raise ConfigurationError(
                f"code: {folder} changed during the launch, so it is unknown what the pilots "
                "would run. Launch again."
            )

    frozen = frozen_modules(run_folder, sha256)
    if not frozen.is_dir():
        # First, for the hash of a copy that a program has begun to write into.
        _list_of(frozen).parent.mkdir(parents=True, exist_ok=True)
        listed = [each.name for each in _files(folder, rule)]
        replace_file(_list_of(frozen), json.dumps(listed) + "\n")
    create_folder_once(frozen, copy)
    return frozen


_COPIES = "own_code"
_LISTS = "own_code_files"
"""Folder of the names of the files in each copy."""


def _copies(run_folder: Path) -> list[Path]:
    folder = run_folder / _COPIES
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _files(folder: Path, rule: CodeRule) -> list[CodeFile]:
    """Return the files that belong to a folder; of a copy those that were copied, for programs may
    write beside them."""
    if folder.parent.name == _COPIES and _list_of(folder).is_file():
        listed: list[str] = json.loads(_list_of(folder).read_text("utf-8"))
        return [CodeFile(name, _target_in_copy(folder, name)) for name in listed]
    return rule.files(folder)


def _target_in_copy(folder: Path, name: str) -> str | None:
    path = folder / name
    if not path.is_symlink():
        return None
    target = os.readlink(path)
    inside = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return target if os.path.isabs(target) else inside


def _list_of(frozen: Path) -> Path:
    return frozen.parent.with_name(_LISTS) / f"{frozen.name}.json"
