"""Data sets in the form that ranks memory-map: created once and atomically.

Importing this module does not import torch.
"""

import glob
import json
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from wconv_jobs.errors import JobError
from wconv_jobs.files.atomic import replace_file

_INDEX = "index.json"


def make_once(folder: Path, write: Callable[[Path], dict[str, Any]], *, size_bytes: int) -> None:
    """Create a prepared folder, unless it exists.

    It is written under a name of its own and then renamed, which any file system does at once: a
    reader sees all of it or nothing, also after a crash, and of two nodes that make it at the same
    time the later one throws its own away. File locks do not reach from node to node everywhere.
    What a process of this machine has left behind that was killed meanwhile is removed.

    Args:
        folder: of the prepared data; its parent is made where it is missing.
        write: fills the folder that it is given, and returns the index to keep with it.
        size_bytes: how much it will write, for a look at the free space first.

    Raises:
        JobError: the folder cannot be written, or disk space is missing.
    """
    if (folder / _INDEX).exists():
        return
    own = f".{folder.name}.{platform.node()}."
    unfinished = folder.with_name(f"{own}{os.getpid()}.{secrets.token_hex(4)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent, own)
        _require_space(folder.parent, size_bytes)
        unfinished.mkdir()
        try:
            index = write(unfinished)
            (unfinished / _INDEX).write_text(json.dumps(index) + "\n", "utf-8")
            for path in unfinished.iterdir():
                _sync(path)
            _rename(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise JobError(
            f"{folder}: cannot be written ({error.strerror}). Choose another folder with "
            "data.options.cache_folder."
        ) from error


def read_index(folder: Path, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """Return the index of a prepared folder; None if it does not exist.

    Args:
        folder: of the prepared data.
        keys: that the index must have.

    Raises:
        JobError: the index cannot be read, or lacks a key.
    """
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise unusable_index(folder, str(error)) from error
    if not isinstance(index, dict):
        raise unusable_index(folder, "it is not a JSON object")
    missing = sorted(set(keys) - index.keys())
    if missing:
        raise unusable_index(folder, f"it lacks {', '.join(missing)}")
    return index


def unusable_index(folder: Path, reason: str) -> JobError:
    """Return the error for an index that does not belong to these data."""
    return JobError(
        f"{folder}: its index cannot be read ({reason}). Delete the folder and prepare the data "
        "again."
    )


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, unless it exists.

    Its folder is made where it is missing.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


def _remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove unfinished folders of this machine's dead processes; those of others may be alive."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        pid = path.name.removeprefix(prefix).partition(".")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)


def _require_space(folder: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise JobError(
            f"{folder}: has {free / 1e9:.1f} GB free, but the prepared data need "
            f"{size_bytes / 1e9:.1f} GB. Free disk space, or choose another folder with "
            "data.options.cache_folder."
        )


def _rename(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError:
        if (folder / _INDEX).exists():
            return  # somebody was faster
        if os.path.lexists(folder):
            raise JobError(
                f"{folder}: already exists but is not a prepared data set. Delete it and prepare "
                "the data again."
            ) from None
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
