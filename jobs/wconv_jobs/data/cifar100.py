"""CIFAR-100: 60,000 images of 32 x 32 pixels in 100 classes (Krizhevsky 2009).

Importing this module does not import torch: a login node checks and prepares the data.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wconv_jobs.catalog import Progress
from wconv_jobs.errors import JobError
from wconv_jobs.files import cifar
from wconv_jobs.files.paths import absolute_folder
from wconv_jobs.files.prepared import make_once, read_index, write_file
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

# Shape letters: N images, C channels, H height, W width, K classes.

KIND: TaskKind = "classification"
SMOKE = {"verify": False, "validation_images": 100, "cache_folder": ""}

# Of the gray levels in [0, 1] of the 50,000 training images.
MEAN = (0.5071, 0.4865, 0.4409)
STD = (0.2673, 0.2564, 0.2762)


class Options(Spec):
    """Options of the data set."""

    folder: str
    """Holds cifar-100-python or cifar-100-binary, as unpacked from the archives, or is one of
    them. An absolute path, or one that starts with ~."""
    cache_folder: str = ""
    """Gets the prepared data, 185 MB; prepared in `folder` when empty."""
    validation_images: Annotated[int, Field(ge=1)] = 5000
    """Training images kept back for the validation, as many of each class."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Chooses them; the same for all trials, or their validations would differ."""
    flip: bool = True
    """Flip training images left and right with probability 1/2."""
    pad_px: Annotated[int, Field(ge=0, le=16)] = 0
    """Surround training images with so many pixels of the mean color, and cut them back to 32 x 32
    at a random place."""
    verify: bool = True
    """Take nothing but the published files. Otherwise a part of the data set is taken, too."""


def load(options: Options, *, seed: int, device: "torch.device | str") -> "Task":
    """Return the task; images are mapped from the prepared files, 3 kB each.

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
    index = prepared_index(prepared, _KEYS)
    _require_verified(prepared, index, options.verify)
    train_NCHW, train_class_N, test_NCHW, test_class_N = (
        torch.from_numpy(mapped_array(prepared / name)) for name in _ARRAYS
    )
    rest_S, kept_S = _split(train_class_N.numpy(), options.validation_images, options.split_seed)
    test_S = torch.arange(len(test_class_N))
    return ClassificationTask(
        train=ImagePart(train_NCHW, train_class_N, torch.from_numpy(rest_S)),
        validation=ImagePart(
            train_NCHW,
            train_class_N,
            torch.from_numpy(kept_S),
            [f"train {number}" for number in kept_S.tolist()],
        ),
        test=ImagePart(
            test_NCHW, test_class_N, test_S, [f"test {number}" for number in test_S.tolist()]
        ),
        classes=len(index["class_names"]),
        normalize=standardized(MEAN, STD, device),
        seed=seed,
        device=device,
        flip_across=options.flip,
        pad_px=options.pad_px,
    )


def sample_shape(options: Options) -> tuple[int, ...]:
    """Return (channels, height, width) of an image."""
    return 3, 32, 32


def check(options: Options, *, thorough: bool) -> list[str]:
    """Return one sentence per problem.

    Prepared data suffice; their source files may be gone.

    Args:
        options: see there.
        thorough: look at the sums of the prepared data, and of the files where they are.
    """
    try:
        prepared = _prepared_folder(options)
        index = read_index(prepared, _KEYS)
        source = _source(options.folder, gone=index is not None)
        problems = []
        if source and (thorough or index is None):
            problems = cifar.check_files(source, verify=options.verify, thorough=thorough)
        if index is None:
            return problems or [not_prepared(prepared)]
    except JobError as error:
        return [str(error)]
    try:
        _require_verified(prepared, index, options.verify)
        arrays = [mapped_array(prepared / name) for name in _ARRAYS]
        _require_rest(len(arrays[0]), options.validation_images)
        if thorough:
            problems += find_damage(prepared, index["sha256"])
    except JobError as error:
        problems.append(str(error))
    return problems


def prepare(options: Options, on_progress: Progress) -> None:
    """Write the images as arrays that every rank maps.

    Raises:
        JobError: the files cannot be used, or disk space is missing.
    """
    prepared = _prepared_folder(options)
    index = read_index(prepared, _KEYS)
    if index is not None:
        _require_verified(prepared, index, options.verify)
        return
    source = cifar.find(absolute_folder(options.folder))
    images, provenance = cifar.read(source, verify=options.verify)
    arrays: list[NDArray[Any]] = [
        images.train_NCHW,
        images.train_class_N,
        images.test_NCHW,
        images.test_class_N,
    ]

    def write(unfinished: Path) -> dict[str, Any]:
        sums = {}
        for done, (name, array) in enumerate(zip(_ARRAYS, arrays, strict=True), start=1):
            sums[name] = write_array(unfinished / name, [array], array.shape, array.dtype.type)
            on_progress(done, len(_ARRAYS))
        return {
            "form": source.form,
            "files": provenance,
            "verified": options.verify,
            "class_names": images.class_names,
            "sha256": sums,
        }

    make_once(prepared, write, size_bytes=sum(array.nbytes for array in arrays))


def checksums(options: Options) -> dict[str, str]:
    """Return the SHA-256 of the values of each prepared array.

    Raises:
        JobError: the data are not prepared.
    """
    index = prepared_index(_prepared_folder(options), _KEYS)
    sums: dict[str, str] = index["sha256"]
    return sums


def generate(folder: Path) -> None:
    """Write synthetic data in the binary form: 100 classes that differ in color and stripes.

    There are 3 training images and 1 test image of each class.
    """
    drawn = np.random.RandomState(0)  # whose numbers do not change with the version of numpy
    binary = folder / "cifar-100-binary"
    for part, per_class in (("train", 3), ("test", 1)):
        labels = list(range(cifar.CLASSES)) * per_class
        records = [bytes((label // 5, label)) + _image(label, drawn).tobytes() for label in labels]
        write_file(binary / f"{part}.bin", b"".join(records))
    names = "".join(f"synthetic_{label:02}\n" for label in range(cifar.CLASSES))
    write_file(binary / "fine_label_names.txt", names.encode("ascii"))


# The version rises with every change of the format, so that old data are never misread.
_PREPARED = "cifar100-v1"

# Keys of the index that are read again.
_KEYS = ("class_names", "sha256", "verified")

_ARRAYS = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")


def _prepared_folder(options: Options) -> Path:
    if options.cache_folder:
        return absolute_folder(options.cache_folder) / _PREPARED
    return absolute_folder(options.folder) / "prepared" / _PREPARED


def _source(folder: str, *, gone: bool) -> cifar.Source | None:
    """Return the files, or None if they are absent, which is allowed with prepared data."""
    try:
        return cifar.find(absolute_folder(folder))
    except JobError:
        if not gone:
            raise
        return None


def _require_verified(prepared: Path, index: dict[str, Any], verify: bool) -> None:
    if verify and not index["verified"]:
        raise JobError(
            f"{prepared}: was prepared with verify: false. Delete it and prepare the data again, "
            "or set data.options.verify to false."
        )


def _require_rest(train_images: int, validation_images: int) -> None:
    if validation_images >= train_images:
        raise JobError(
            f"validation_images is {validation_images:,}, but there are {train_images:,} training "
            "images, of which some must be left. Lower data.options.validation_images."
        )


def _split(
    class_N: NDArray[np.int64], validation_images: int, split_seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the images for training and for validation, each in rising order.

    Each class gives its part of the validation images to within one, and of its images those with
    the lowest random numbers, which are our own: the split is the same with any version.
    """
    import torch  # here, see the top

    from wconv_jobs.tasks.random_streams import streams

    images = len(class_N)
    _require_rest(images, validation_images)
    of_class_K = np.bincount(class_N)
    kept_K, remainder_K = np.divmod(of_class_K * validation_images, images)
    first_K = np.argsort(-remainder_K, kind="stable")
    kept_K[first_K[: validation_images - kept_K.sum()]] += 1
    number_N = streams("validation split", split_seed, samples=torch.arange(images)).numpy()
    order_N = np.lexsort((number_N, class_N))
    start_K = np.cumsum(of_class_K) - of_class_K
    rank_N = np.arange(images) - start_K[class_N[order_N]]
    kept_N = rank_N < kept_K[class_N[order_N]]
    return np.sort(order_N[~kept_N]), np.sort(order_N[kept_N])


def _image(label: int, drawn: np.random.RandomState) -> NDArray[np.uint8]:
    """Return an image (3, 32, 32) of a class: its color, its stripes, and noise."""
    color_C = 60 + 34 * np.array([label % 5, label // 5 % 5, label // 25])
    stripes_W = 20 * np.sin(np.arange(32) * (1 + label % 7) / 4)
    noise_CHW = drawn.normal(0, 15, (3, 32, 32))
    image_CHW = color_C[:, None, None] + stripes_W + noise_CHW
    return np.asarray(np.clip(image_CHW, 0, 255), np.uint8)
