"""Data sets in the form that ranks memory-map: created once and atomically.

Importing this module does not import torch.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from wconv_jobs.errors import JobError
from wconv_jobs.files.atomic import create_folder_once, replace_file

_INDEX = "index.json"


def make_once(folder: Path, write: Callable[[Path], dict[str, Any]], *, size_bytes: int) -> None:
    """Make a prepared folder, unless it is there; see `create_folder_once`.

    Args:
        folder: of the prepared data; its parent is made where it is missing.
        write: fills the folder that it is given, and returns the index to keep with it.
        size_bytes: how much it will write, for a look at the free space first.

    Raises:
        JobError: the folder cannot be written, or disk space is missing.
    """

    def fill(unfinished: Path) -> None:
        _require_space(folder.parent, size_bytes)
        index = write(unfinished)
        (unfinished / _INDEX).write_text(json.dumps(index) + "\n", "utf-8")

    try:
        create_folder_once(folder, fill, durable=True, is_complete=_has_index)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(folder):
            raise JobError(
                f"{folder}: already exists but is not a prepared data set. Delete it and prepare "
                "the data again."
            ) from error
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


def _has_index(folder: Path) -> bool:
    return (folder / _INDEX).exists()


def _require_space(folder: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise JobError(
            f"{folder}: has {free / 1e9:.1f} GB free, but the prepared data need "
            f"{size_bytes / 1e9:.1f} GB. Free disk space, or choose another folder with "
            "data.options.cache_folder."
        )
