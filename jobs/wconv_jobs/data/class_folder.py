"""Classification of the user's own images, which lie in one folder per class.

Importing this module does not import torch: a login node checks and prepares the data.
"""

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, FiniteFloat

from wconv_jobs.catalog import Progress
from wconv_jobs.errors import JobError
from wconv_jobs.files.class_folders import Listing, fingerprint, has_classes, list_classes
from wconv_jobs.files.images import check_images, decode, in_threads, shortened
from wconv_jobs.files.paths import absolute_folder
from wconv_jobs.files.prepared import make_once, read_index, unusable_index, write_file
from wconv_jobs.files.prepared_arrays import (
    find_damage,
    mapped_array,
    not_prepared,
    prepared_index,
    write_array,
)
from wconv_jobs.kinds import TaskKind
from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    import torch

    from wconv_jobs.tasks.task import Task

# Shape letters: N images, C channels, H height, W width.

KIND: TaskKind = "classification"
SMOKE = {"image_px": 32, "cache_folder": ""}
SMOKE_CLASSES = 4

# Of ImageNet's photographs, gray levels in [0, 1]; close enough for other photographs.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Options(Spec):
    """Options of the data set."""

    folder: str
    """Holds train/CLASS/IMAGES and test/CLASS/IMAGES, if you like validation/CLASS/IMAGES as well;
    or CLASS/IMAGES. Parts without a folder are split from each class in the order of the names,
    the last images for the test, those before it for validation, at least one each. Neighbors in a
    series thus stay together. Classes are numbered in the order of their names. An absolute path,
    or one that starts with ~."""
    cache_folder: str = ""
    """Gets the prepared data, 3 bytes per pixel; prepared in `folder` when empty."""
    image_px: Annotated[int, Field(ge=8, le=1024)] = 32
    """Width and height, pixels: the largest square in the middle of an image is scaled to it."""
    validation_fraction: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.1
    """Part of the images of each class, if there is no validation folder."""
    test_fraction: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.1
    """Likewise for the test."""
    flip: bool = True
    """Flip training images left and right with probability 1/2."""
    pad_px: Annotated[int, Field(ge=0, le=128)] = 0
    """Surround training images with so many pixels of the mean color, and cut them back to their
    size at a random place."""


def load(options: Options, *, seed: int, device: "torch.device | str") -> "Task":
    """Return the task; images are mapped from the prepared file.

    Args:
        options: see there.
        seed: source of order and augmentation; not of the split.
        device: of the batches.

    Raises:
        JobError: the data are not prepared or cannot be used.
    """
    import torch  # here, see the top

    from wconv_jobs.tasks.classification import ClassificationTask, ImagePart, standardized

    prepared = _prepared_folder(options)
    listing = _listing(prepared, prepared_index(prepared, _KEYS))
    split = _split(listing, options)
    image_NCHW = torch.from_numpy(mapped_array(prepared / _IMAGES))
    class_N = torch.tensor(listing.classes)
    parts = {
        part: ImagePart(
            image_NCHW,
            class_N,
            torch.tensor(numbers),
            [listing.names[number] for number in numbers],
        )
        for part, numbers in split.items()
    }
    return ClassificationTask(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        classes=len(listing.class_names),
        normalize=standardized(MEAN, STD, device),
        seed=seed,
        device=device,
        flip_across=options.flip,
        pad_px=options.pad_px,
    )


def sample_shape(options: Options) -> tuple[int, ...]:
    """Return (channels, height, width) of an image."""
    return 3, options.image_px, options.image_px


def check(options: Options, *, thorough: bool) -> list[str]:
    """Return one sentence per problem.

    Prepared data suffice; their source images may be gone; if they exist, their
    names and sizes must be those of the prepared ones.

    Args:
        options: see there.
        thorough: compare the sum of the prepared data, and decode the images where they are.
    """
    problems: list[str] = []
    try:
        prepared = _prepared_folder(options)
        root = absolute_folder(options.folder)
        ignored = _prepared_places(root, prepared)
        index = read_index(prepared, _KEYS)
        if index is None or has_classes(root, ignored=ignored):
            listing, paths = list_classes(root, ignored=ignored)
            if thorough:
                problems += check_images(paths, min_px=1, decode_px=None)
            if index is not None and fingerprint(listing, paths) != index["fingerprint"]:
                problems.append(_stale(prepared, root))
        else:
            listing = _listing(prepared, index)
        _split(listing, options)
        if index is None:
            return problems or [not_prepared(prepared)]
        mapped_array(prepared / _IMAGES)
        if thorough:
            problems += find_damage(prepared, index["sha256"])
    except JobError as error:
        problems.append(str(error))
    return problems


def prepare(options: Options, on_progress: Progress) -> None:
    """Write the images as one array that every rank maps.

    Raises:
        JobError: an image cannot be used, the images have changed since they were prepared, or
            the prepared data cannot be written.
    """
    prepared, image_px = _prepared_folder(options), options.image_px
    root = absolute_folder(options.folder)
    ignored = _prepared_places(root, prepared)
    index = read_index(prepared, _KEYS)
    if index is not None and not has_classes(root, ignored=ignored):
        return
    listing, paths = list_classes(root, ignored=ignored)
    if index is not None:
        if fingerprint(listing, paths) != index["fingerprint"]:
            raise JobError(_stale(prepared, root))
        return
    shape = (len(paths), 3, image_px, image_px)

    def squares() -> Iterator[NDArray[np.uint8]]:
        problems = []
        outcomes = in_threads(lambda number: _square(decode(paths[number]), image_px), len(paths))
        for done, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, JobError):
                problems.append(str(outcome))
            else:
                yield outcome
            on_progress(done, len(paths))
        if problems:
            raise JobError("\n".join(shortened(problems)))

    def write(unfinished: Path) -> dict[str, Any]:
        return {
            "listing": dataclasses.asdict(listing),
            "fingerprint": fingerprint(listing, paths),
            "sha256": {_IMAGES: write_array(unfinished / _IMAGES, squares(), shape, np.uint8)},
        }

    make_once(prepared, write, size_bytes=len(paths) * 3 * image_px**2)


def checksums(options: Options) -> dict[str, str]:
    """Return the SHA-256 of the values of the prepared array.

    Raises:
        JobError: the data are not prepared.
    """
    sums: dict[str, str] = prepared_index(_prepared_folder(options), _KEYS)["sha256"]
    return sums


def generate(folder: Path) -> None:
    """Write synthetic images of 4 classes that differ in their stripes, of 40 x 36 pixels.

    Of each class there are 24 for training and 8 for the test.
    """
    drawn = np.random.RandomState(0)  # its numbers do not change with the version of numpy
    for number, name in enumerate(("across", "down", "falling", "rising")):
        for part, images in (("train", 24), ("test", 8)):
            for image in range(images):
                encoded = io.BytesIO()
                Image.fromarray(_made_up(number, drawn)).save(encoded, "PNG")
                write_file(folder / part / name / f"{image:02}.png", encoded.getvalue())


# The version rises with every change of the format, so that old data are never misread.
_VERSION = "class_folder-v1"

_IMAGES = "images.npy"

# Keys of the index that are read again.
_KEYS = ("fingerprint", "listing", "sha256")


def _prepared_folder(options: Options) -> Path:
    root = absolute_folder(options.folder)
    name = f"{_VERSION}-{options.image_px}px"
    if not options.cache_folder:
        return root / "prepared" / name
    # The prepared data of several folders may lie in one.
    mark = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    return absolute_folder(options.cache_folder) / f"{name}-{mark}"


def _split(listing: Listing, options: Options) -> dict[str, list[int]]:
    return listing.split(
        validation_fraction=options.validation_fraction, test_fraction=options.test_fraction
    )


def _listing(prepared: Path, index: dict[str, Any]) -> Listing:
    try:
        return Listing(**index["listing"])
    except TypeError as error:
        raise unusable_index(prepared, "its listing is not that of a class_folder") from error


def _prepared_places(root: Path, prepared: Path) -> set[Path]:
    """Return the folders that may hold prepared data, also of another cache_folder."""
    return {root / "prepared", prepared.parent}


def _stale(prepared: Path, root: Path) -> str:
    return (
        f"{prepared}: was prepared from other images than those in {root}. Restore those, or "
        f"delete {prepared} and prepare the data again."
    )


def _square(pixels_HWC: NDArray[np.uint8], image_px: int) -> NDArray[np.uint8]:
    """Return the largest square in the middle, scaled: shape (3, image_px, image_px)."""
    height, width, _ = pixels_HWC.shape
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    # Pillow averages over as many pixels as become one, i.e. does not alias.
    scaled = Image.fromarray(pixels_HWC).resize(
        (image_px, image_px),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
    )
    square_HWC = np.asarray(scaled, dtype=np.uint8)
    return np.moveaxis(square_HWC, 2, 0)


def _made_up(number: int, drawn: np.random.RandomState) -> NDArray[np.uint8]:
    """Return an image (36, 40, 3) with the stripes of a class, and noise."""
    down, across = ((0.0, 1.0), (1.0, 0.0), (0.7, -0.7), (0.7, 0.7))[number]
    row_HW, column_HW = np.mgrid[:36, :40]
    phase = drawn.uniform(0, 2 * np.pi)
    stripes_HW = 60 * np.sin((down * row_HW + across * column_HW) * 0.9 + phase)
    noise_HWC = drawn.normal(128, 15, (36, 40, 3))
    return np.asarray(np.clip(stripes_HW[:, :, None] + noise_HWC, 0, 255), np.uint8)
