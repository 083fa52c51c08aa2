"""Denoising of the user's own images."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, FiniteFloat

from wconv_jobs.errors import JobError
from wconv_jobs.files.images import SCORED_PX, SOME_PX, check_images, file_bytes, list_images
from wconv_jobs.files.paths import absolute_folder
from wconv_jobs.files.synthetic import write_pictures
from wconv_jobs.kinds import TaskKind
from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    import torch

    from wconv_jobs.tasks.task import Task

KIND: TaskKind = "denoising"
SMOKE = {"crop_px": 64, "crops_per_epoch": 16}

PARTS = ("train", "validation", "test")


class Options(Spec):
    """Options of the data set."""

    folder: str
    """Holds the folders train, validation and test with the images; or at least 3 images, of
    which, in the order of their names, the last tenth is for the test, the tenth before it for
    validation (at least one each), and the rest for training. Neighbors in a series thus stay
    together. An absolute path, or one that starts with ~: a job does not start in the folder that
    it was launched from."""
    noise_sigma: Annotated[FiniteFloat, Field(gt=0, le=255)] = 25.0
    """Standard deviation of the noise, gray levels of 255."""
    crop_px: Annotated[int, Field(ge=1, le=4096)] = 48
    """Width and height of the training crops, pixels."""
    crops_per_epoch: Annotated[int, Field(ge=1)] = 800
    """Training samples in an epoch."""
    noise: Literal["fresh", "fixed"] = "fresh"
    """Of the training: fresh for each crop, or fixed, one noisy version of each image."""
    clip: bool = False
    """Cut the noisy images to [0, 1]."""
    flips: bool = False
    """Show each training crop in one of the 8 symmetries of a square at random."""


def load(options: Options, *, seed: int, device: "torch.device | str") -> "Task":
    """Return the task; all images are decoded and kept in memory, 3 bytes per pixel and rank.

    Args:
        options: see there.
        seed: source of crops and noise; not of the split.
        device: of the batches.

    Raises:
        JobError: the folder or an image cannot be used, see `wconv_jobs.files.images`.
    """
    # Here, because a login node checks the folder and has no use for torch.
    from wconv_jobs.tasks.denoising import DenoisingTask
    from wconv_jobs.tasks.pictures import PictureStore

    split = _split(options.folder)
    paths = [path for part in PARTS for path in split[part]]
    trained = len(split["train"])
    tested = trained + len(split["validation"])
    return DenoisingTask(
        store=PictureStore.decoded(paths, [path.name for path in paths], device),
        parts={
            "train": range(trained),
            "validation": range(trained, tested),
            "test": range(tested, len(paths)),
        },
        seed=seed,
        device=device,
        noise_sigma=options.noise_sigma,
        crop_px=options.crop_px,
        crops_per_epoch=options.crops_per_epoch,
        noise=options.noise,
        clip=options.clip,
        flips=options.flips,
    )


def sample_shape(options: Options) -> tuple[int, ...]:
    """Return (channels, height, width) of a training crop."""
    return 3, options.crop_px, options.crop_px


def check(options: Options, *, thorough: bool) -> list[str]:
    """Return one sentence per problem with the folder and its images.

    Only training images must be as large as the crops.

    Args:
        options: see there.
        thorough: decode all images; otherwise as many as take some seconds.
    """
    try:
        split = _split(options.folder)
    except JobError as error:
        return [str(error)]
    decode_px = None if thorough else SOME_PX
    evaluated = [*split["validation"], *split["test"]]
    return [
        *check_images(split["train"], min_px=options.crop_px, decode_px=decode_px),
        *check_images(evaluated, min_px=SCORED_PX, use="scored", decode_px=decode_px),
    ]


def checksums(options: Options) -> dict[str, str]:
    """Return the SHA-256 of the names and sizes of the images.

    Their contents are not read: they may be many.

    Raises:
        JobError: the folder cannot be used.
    """
    lines = hashlib.sha256()
    for part, paths in _split(options.folder).items():
        for path in paths:
            lines.update(f"{(part, path.name, file_bytes(path))!a}\n".encode("ascii"))
    return {"names_and_sizes": lines.hexdigest()}


def generate(folder: Path) -> None:
    """Write synthetic images: 6 for training, 2 for validation and 2 for the test."""
    for part, count in zip(PARTS, (6, 2, 2), strict=True):
        write_pictures(folder / part, [f"{part}_{number}.png" for number in range(count)])


def _split(root: str) -> dict[str, list[Path]]:
    folder = absolute_folder(root)
    there = [part for part in PARTS if (folder / part).is_dir()]
    if there:
        missing = [part for part in PARTS if part not in there]
        if missing:
            raise JobError(
                f"{folder}: has {' and '.join(there)}, but lacks {' and '.join(missing)}. "
                "Add what is missing, or put all images into one folder to have them split."
            )
        return {part: list_images(folder / part) for part in PARTS}
    paths = list_images(folder)
    if len(paths) < len(PARTS):
        raise JobError(
            f"{folder}: holds {len(paths)} image(s), but train, validation and test need at "
            "least one each. Add images."
        )
    tenth = max(1, len(paths) // 10)
    return {
        "train": paths[: -2 * tenth],
        "validation": paths[-2 * tenth : -tenth],
        "test": paths[-tenth:],
    }
