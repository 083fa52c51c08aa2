"""Images that are decoded once, into one array that training maps into memory.

A prepared folder holds the flat array of the images, and an index that says of each file where
it was, how large it was, and its SHA-256: it tells whether the files are still those that were
decoded, and which data a result comes from. Importing this module does not import torch.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wconv_jobs.catalog import Progress
from wconv_jobs.errors import JobError
from wconv_jobs.files.images import (
    check_images,
    decode,
    flat_offsets,
    in_threads,
    shortened,
    size_of,
)
from wconv_jobs.files.prepared import make_once, unusable_index
from wconv_jobs.files.prepared_arrays import find_damage, prepared_index, write_array

PIXELS = "pixels.npy"
"""Name of the file with the flat array, see `wconv_jobs.files.images.flat_offsets`."""

# Keys of the index that are read again.
_KEYS = ("pictures", "sha256")


@dataclass(frozen=True)
class PreparedPicture:
    """An image in a prepared folder, and the file that it comes from."""

    file: str
    """Path within the folder of the data set, with slashes."""
    height_px: int
    width_px: int
    file_bytes: int
    sha256: str
    """Of the file, not of the pixels."""


def prepare_pictures(
    prepared: Path, folder: Path, files: Sequence[str], on_progress: Progress
) -> None:
    """Decode files into a prepared folder, unless it is there.

    Args:
        prepared: the folder to make.
        folder: of the data set.
        files: paths within it, with slashes; the images lie in this order.
        on_progress: called for each file.

    Raises:
        JobError: files cannot be decoded, or the prepared folder cannot be written.
    """
    paths = [folder / file for file in files]
    problems = check_images(paths, min_px=1, decode_px=0)
    if problems:
        raise JobError("\n".join(problems))
    total = flat_offsets([size_of(path) for path in paths])[-1]

    def write(unfinished: Path) -> dict[str, Any]:
        pictures: list[PreparedPicture] = []
        pixels = _decoded(folder, files, pictures, on_progress)
        sums = {PIXELS: write_array(unfinished / PIXELS, pixels, (total,), np.uint8)}
        return {
            "pictures": [dataclasses.asdict(picture) for picture in pictures],
            "sha256": sums,
        }

    make_once(prepared, write, size_bytes=total)


def prepared_pictures(prepared: Path) -> list[PreparedPicture]:
    """Return the images in a prepared folder, in the order in which they lie.

    Raises:
        JobError: the folder does not exist, or its index cannot be read.
    """
    index = prepared_index(prepared, _KEYS)
    try:
        return [PreparedPicture(**picture) for picture in index["pictures"]]
    except TypeError as error:
        raise unusable_index(prepared, "its picture list is invalid") from error


def find_changes(
    prepared: Path, folder: Path, files: Sequence[str], *, thorough: bool
) -> list[str]:
    """Return one sentence per file that cannot be read, and one if the folder was prepared from
    other files than those that are there.

    Args:
        prepared: the prepared folder.
        folder: of the data set.
        files: paths within it, as they are now.
        thorough: compare the SHA-256 of each file; otherwise names and sizes alone.

    Raises:
        JobError: see `prepared_pictures`.
    """
    then = {picture.file: picture for picture in prepared_pictures(prepared)}
    names = sorted({*files, *then})

    def changed(number: int) -> bool:
        path, picture = folder / names[number], then.get(names[number])
        try:
            return (
                picture is None
                or not path.exists()
                or path.stat().st_size != picture.file_bytes
                or (thorough and _sha256(path) != picture.sha256)
            )
        except OSError as error:
            raise JobError(
                f"{path}: cannot be read ({error.strerror}). Make it readable, or move {folder} "
                "away: the prepared data suffice."
            ) from error

    outcomes = list(in_threads(changed, len(names)))
    unreadable = shortened([str(outcome) for outcome in outcomes if isinstance(outcome, JobError)])
    differing = [name for name, outcome in zip(names, outcomes, strict=True) if outcome is True]
    if not differing:
        return unreadable
    more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
    return [
        *unreadable,
        f"{prepared}: was prepared from other files, see {differing[0]}{more}. Restore those, or "
        f"delete {prepared} and prepare the data again.",
    ]


def find_damaged_pixels(prepared: Path) -> list[str]:
    """Return one sentence if the prepared pixels differ from those that were written.

    Raises:
        JobError: see `prepared_pictures`; or they cannot be read.
    """
    return find_damage(prepared, prepared_index(prepared, _KEYS)["sha256"])


def _decoded(
    folder: Path, files: Sequence[str], pictures: list[PreparedPicture], on_progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of each file, and append what the index says of it to `pictures`."""

    def take(number: int) -> tuple[NDArray[np.uint8], PreparedPicture]:
        path = folder / files[number]
        pixels_HWC = decode(path)
        height_px, width_px, _ = pixels_HWC.shape
        return pixels_HWC, PreparedPicture(
            files[number], height_px, width_px, path.stat().st_size, _sha256(path)
        )

    problems = []
    for done, outcome in enumerate(in_threads(take, len(files)), start=1):
        if isinstance(outcome, JobError):
            problems.append(str(outcome))
        else:
            pixels_HWC, picture = outcome
            pictures.append(picture)
            yield pixels_HWC
        on_progress(done, len(files))
    if problems:
        raise JobError("\n".join(shortened(problems)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
