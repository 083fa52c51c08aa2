"""Denoising of DIV2K (Agustsson and Timofte, CVPR Workshops 2017, doi:10.1109/CVPRW.2017.150).

900 images of about 2040 x 1400 pixels, for academic research only, from
https://data.vision.ee.ethz.ch/cvl/DIV2K/. Their test images have not been published, so the
paper's split takes 0001 to 0750 for training, 0751 to 0800 for validation, and DIV2K's validation
images 0801 to 0900 as the test set.

They are decoded once, into one file of 7.5 GB that training maps into memory: a crop of 128 pixels
takes 49 kB of it, while decoding an image takes 45 ms.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, FiniteFloat

from wconv_jobs.catalog import Progress
from wconv_jobs.errors import JobError
from wconv_jobs.files.images import SCORED_PX, check_images, shortened, size_problem
from wconv_jobs.files.paths import absolute_folder
from wconv_jobs.files.prepared import read_index
from wconv_jobs.files.prepared_arrays import mapped_array, not_prepared, prepared_index
from wconv_jobs.files.prepared_pictures import (
    PIXELS,
    PreparedPicture,
    find_changes,
    find_damaged_pixels,
    prepare_pictures,
    prepared_pictures,
)
from wconv_jobs.files.synthetic import write_pictures
from wconv_jobs.kinds import TaskKind
from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    import torch

    from wconv_jobs.tasks.task import Task

KIND: TaskKind = "denoising"
SMOKE = {
    "cache_folder": "",
    "crop_px": 64,
    "crops_per_epoch": 16,
    "validation_images": 2,
    "verify": False,
}

TRAIN = "DIV2K_train_HR"
VALID = "DIV2K_valid_HR"
SOURCE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"

WHOLE = {
    TRAIN: [f"{number:04}.png" for number in range(1, 801)],
    VALID: [f"{number:04}.png" for number in range(801, 901)],
}
"""Names of the files in each folder."""


class Options(Spec):
    """Options of the data set."""

    folder: str
    """Holds DIV2K_train_HR and DIV2K_valid_HR, as unpacked. An absolute path, or one that starts
    with ~."""
    cache_folder: str = ""
    """Where the prepared data are, a path of the same sort; empty: the folder `prepared` in
    `folder`."""
    noise_sigma: Annotated[FiniteFloat, Field(gt=0, le=255)] = 25.0
    """Standard deviation of the noise, gray levels of 255."""
    crop_px: Annotated[int, Field(ge=1, le=4096)] = 128
    """Width and height of the training crops, pixels."""
    crops_per_epoch: Annotated[int, Field(ge=1)] = 12000
    """Training samples in an epoch; 12,000 are 16 of each training image."""
    validation_images: Annotated[int, Field(ge=1)] = 50
    """How many images of DIV2K_train_HR are not for training, the last ones."""
    noise: Literal["fresh", "fixed"] = "fresh"
    """Of the training: fresh for each crop, or fixed, one noisy version of each image."""
    clip: bool = False
    """Cut the noisy images to [0, 1]."""
    flips: bool = False
    """Show each training crop in one of the 8 symmetries of a square at random."""
    verify: bool = True
    """Ask for the 900 images; False takes a part of them, whatever their number."""


def load(options: Options, *, seed: int, device: "torch.device | str") -> "Task":
    """Return the task; the data must have been prepared.

    Args:
        options: see there.
        seed: source of crops and noise.
        device: of the batches.

    Raises:
        JobError: the data have not been prepared, or not whole, or an image is too small.
    """
    # Here, because a login node checks and prepares the data and has no use for torch.
    import torch

    from wconv_jobs.tasks.denoising import DenoisingTask
    from wconv_jobs.tasks.pictures import PictureStore

    prepared = _prepared_folder(options)
    pictures = prepared_pictures(prepared)
    _require_whole(prepared, [picture.file for picture in pictures], options.verify)
    train, validation, test = _split(prepared, pictures, options.validation_images)
    return DenoisingTask(
        store=PictureStore(
            torch.from_numpy(mapped_array(prepared / PIXELS)),
            [PurePosixPath(picture.file).name for picture in pictures],
            [(picture.height_px, picture.width_px) for picture in pictures],
            device,
        ),
        parts={"train": train, "validation": validation, "test": test},
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


def prepare(options: Options, on_progress: Progress) -> None:
    """Decode the images into one array, unless that has been done.

    Raises:
        JobError: files are missing or cannot be decoded, they have changed since they were
            prepared, or the prepared data cannot be written.
    """
    root, prepared = absolute_folder(options.folder), _prepared_folder(options)
    if read_index(prepared) is None:
        prepare_pictures(prepared, root, _list(root, options.verify), on_progress)
    elif _has_files(root):
        changes = find_changes(prepared, root, _list(root, options.verify), thorough=False)
        if changes:
            raise JobError("\n".join(changes))


def check(options: Options, *, thorough: bool) -> list[str]:
    """Return one sentence per problem with the files.

    Prepared data suffice; the files may be gone; if they exist, they must be those that were
    prepared.

    Args:
        options: see there.
        thorough: compare the SHA-256 of the files, and of the prepared pixels, with those of the
            index; otherwise names and sizes alone. Without prepared data, decode all files.
    """
    problems: list[str] = []
    try:
        root, prepared = absolute_folder(options.folder), _prepared_folder(options)
        if read_index(prepared) is None:
            files = _list(root, options.verify)
            if thorough:
                problems += check_images([root / file for file in files], min_px=1, decode_px=None)
            return [*problems, not_prepared(prepared)]
        if _has_files(root):
            files = _list(root, options.verify)
            problems += find_changes(prepared, root, files, thorough=thorough)
        pictures = prepared_pictures(prepared)
        _require_whole(prepared, [picture.file for picture in pictures], options.verify)
        train, *_evaluated = _split(prepared, pictures, options.validation_images)
        problems += _too_small(pictures, train, options.crop_px)
        if thorough:
            problems += find_damaged_pixels(prepared)
        else:
            mapped_array(prepared / PIXELS)
    except JobError as error:
        problems.append(str(error))
    return problems


def checksums(options: Options) -> dict[str, str]:
    """Return the SHA-256 of the values of the prepared array.

    Raises:
        JobError: the data are not prepared.
    """
    index = prepared_index(_prepared_folder(options), ["sha256"])
    sums: dict[str, str] = index["sha256"]
    return sums


def generate(folder: Path) -> None:
    """Write synthetic images: 6 for training and validation, 2 for the test."""
    write_pictures(folder / TRAIN, WHOLE[TRAIN][:6])
    write_pictures(folder / VALID, WHOLE[VALID][:2])


# The version rises with every change of the format, so that old data are never misread.
_PREPARED = "div2k-v1"


def _prepared_folder(options: Options) -> Path:
    if options.cache_folder:
        return absolute_folder(options.cache_folder) / _PREPARED
    return absolute_folder(options.folder) / "prepared" / _PREPARED


def _has_files(root: Path) -> bool:
    return any((root / name).exists() for name in WHOLE)


def _list(root: Path, verify: bool) -> list[str]:
    files = []
    for name in WHOLE:
        try:
            found = sorted(
                path.name
                for path in (root / name).iterdir()
                if path.suffix == ".png" and not path.name.startswith(".")
            )
            reason = "" if found else "it holds no .png files"
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            raise JobError(
                f"{root / name}: cannot be used ({reason}). Unpack {name}.zip of {SOURCE} in "
                f"{root}, or choose another folder with data.options.folder."
            )
        files += [f"{name}/{file}" for file in found]
    _require_whole(root, files, verify)
    return files


def _require_whole(where: Path, files: Sequence[str], verify: bool) -> None:
    if not verify:
        return
    whole = {f"{name}/{file}" for name in WHOLE for file in WHOLE[name]}
    lacking, strange = sorted(whole - set(files)), sorted(set(files) - whole)
    if lacking:
        raise JobError(
            f"{where}: lacks {_some(lacking)}. Unpack the zip files of {SOURCE} again, or take a "
            "part of DIV2K with verify: false."
        )
    if strange:
        raise JobError(f"{where}: has {_some(strange)}, not of DIV2K. Move it out of there.")


def _some(files: Sequence[str]) -> str:
    return files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _split(
    prepared: Path, pictures: Sequence[PreparedPicture], validation_images: int
) -> tuple[range, range, range]:
    """Return the numbers of the images for training, validation and test."""
    of_train = sum(picture.file.startswith(f"{TRAIN}/") for picture in pictures)
    trained = of_train - validation_images
    if trained < 1:
        raise JobError(
            f"{prepared}: holds {of_train} image(s) of {TRAIN}, of which validation_images: "
            f"{validation_images} leaves none for training. Lower validation_images."
        )
    return range(trained), range(trained, of_train), range(of_train, len(pictures))


def _too_small(pictures: Sequence[PreparedPicture], train: range, crop_px: int) -> list[str]:
    problems = (
        size_problem(
            picture.file,
            picture.height_px,
            picture.width_px,
            min_px=crop_px if number in train else SCORED_PX,
            use="cropped" if number in train else "scored",
        )
        for number, picture in enumerate(pictures)
    )
    return shortened([problem for problem in problems if problem])
