"""Arrays in a prepared folder, which training maps into memory.

The index of the folder says the SHA-256 of each. Importing this module does not import torch.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wconv_jobs.errors import JobError
from wconv_jobs.files.prepared import read_index


def write_array(
    path: Path, parts: Iterable[NDArray[Any]], shape: Sequence[int], dtype: type[np.generic]
) -> str:
    """Write an array part by part, and return the SHA-256 of its values.

    It is written, not mapped: a full disk or quota is an error then, and no signal that kills.

    Args:
        path: ends in .npy.
        parts: one after the other along the first dimension.
        shape: of the whole.
        dtype: of all parts.
    """
    values = hashlib.sha256()
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": tuple(shape),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            data = np.ascontiguousarray(part, dtype).data
            values.update(data)
            file.write(data)
    return values.hexdigest()


def prepared_index(prepared: Path, keys: Collection[str]) -> dict[str, Any]:
    """Return the index of a prepared folder, which must have some keys.

    Raises:
        JobError: the folder does not exist, or its index cannot be read.
    """
    index = read_index(prepared, keys)
    if index is None:
        raise JobError(not_prepared(prepared))
    return index


def not_prepared(prepared: Path) -> str:
    """Return the sentence for data that have not been prepared."""
    return (
        f"{prepared}: the data have not been prepared. Run "
        "`wconv-sweep data prepare --study STUDY` first."
    )


def mapped_array(path: Path) -> NDArray[Any]:
    """Return an array that is mapped from its file: all ranks of a node share its pages.

    Raises:
        JobError: the file is missing, cut off, or no array of numbers.
    """
    try:
        # Private, i.e. copied when written to, because torch warns of memory that is read-only.
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise JobError(
            f"{path}: cannot be read ({error}). Delete {path.parent} and prepare the data again."
        ) from error
    return array


def find_damage(prepared: Path, sums: Mapping[str, str]) -> list[str]:
    """Return one sentence per array whose values are not those that were prepared.

    Args:
        prepared: the folder.
        sums: SHA-256 of each file's values, see `write_array`.

    Raises:
        JobError: see `mapped_array`.
    """
    return [
        f"{prepared / name}: has changed since it was prepared. Delete {prepared} and prepare "
        "the data again."
        for name, sha256 in sums.items()
        if hashlib.sha256(mapped_array(prepared / name).data).hexdigest() != sha256
    ]
