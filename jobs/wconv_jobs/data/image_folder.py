"""Denoising of the user's own images.

Importing this module does not import torch: a login node checks the folder before it submits.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from wconv_jobs.errors import JobError
from wconv_jobs.images import Picture, check_images, decode, list_images

if TYPE_CHECKING:
    from wconv_jobs.task import Task

PARTS = ("train", "validation", "test")

METRICS = ("psnr_db", "nrmse")


def load(
    *,
    seed: int,
    folder: str,
    noise_sigma: Annotated[float, Field(gt=0, le=255)] = 25.0,
    crop_px: Annotated[int, Field(ge=1)] = 48,
    crops_per_epoch: Annotated[int, Field(ge=1)] = 800,
) -> "Task":
    """Return the task; all images are decoded and kept in memory, 3 bytes per pixel and rank.

    Args:
        seed: source of crops and noise; not of the split.
        folder: holds the folders train, validation and test with the images; or at least 3 images,
            of which, in the order of their names, the last tenth is for the test, the tenth before
            it for validation (at least one each), and the rest for training. Neighbours in a
            series thus stay together. An absolute path, or one that starts with ~: a job does not
            start in the folder that it was launched from.
        noise_sigma: standard deviation of the noise, grey levels of 255.
        crop_px: width and height of the training crops, pixels.
        crops_per_epoch: training samples in an epoch.

    Raises:
        JobError: the folder or an image cannot be used, see `wconv_jobs.images`.
    """
    from wconv_jobs.denoising import DenoisingTask  # imports torch, see the top

    parts = {
        part: [Picture(path.name, decode(path)) for path in paths]
        for part, paths in _split(folder).items()
    }
    return DenoisingTask(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        seed=seed,
        noise_sigma=noise_sigma,
        crop_px=crop_px,
        crops_per_epoch=crops_per_epoch,
        metrics=METRICS,
    )


def check(*, folder: str, crop_px: int = 48, **_: object) -> list[str]:
    """Return one sentence per problem with the folder and its images; takes the options of `load`.

    The crops' size is asked of the training images alone.
    """
    try:
        paths = _split(folder)
    except JobError as error:
        return [str(error)]
    evaluated = [*paths["validation"], *paths["test"]]
    return check_images(paths["train"], min_px=crop_px) + check_images(evaluated, min_px=1)


def _split(root: str) -> dict[str, list[Path]]:
    try:
        folder = Path(root).expanduser()
    except RuntimeError as error:
        raise JobError(f"{root}: there is no such user. Write an absolute path.") from error
    if not folder.is_absolute():
        raise JobError(
            f"{root}: is relative, but jobs do not start in this folder. "
            f"Write {folder.absolute()}."
        )
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
