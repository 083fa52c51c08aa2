"""Classification of patches of the textures that come with scikit-image: no download.

Only images under CC0 are used. Licenses are those that scikit-image 0.26 states in the
documentation of `skimage.data`:

    class  image   pixels     license
    0      brick   512 x 512  CC0 (CC0Textures)
    1      grass   512 x 512  CC0 (linolafett)
    2      gravel  512 x 512  CC0 (CC0Textures)
    3      cell    550 x 660  CC0 (Mueller et al. 2018)

Importing this module does not import torch.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wconv_jobs.files.images import decode
from wconv_jobs.kinds import TaskKind
from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from wconv_jobs.tasks.classification import ClassificationTask, ImagePart
    from wconv_jobs.tasks.task import Task

# Shape letters: B batch, C channels, H height, W width, N patches.

KIND: TaskKind = "classification"
CLASSES = ("brick", "grass", "gravel", "cell")
SMOKE = {"patches_per_class": 40}


class Options(Spec):
    """Options of the data set."""

    patch_px: Annotated[int, Field(ge=8, le=96)] = 32
    """Width and height, pixels; the lowest strip has 102."""
    patches_per_class: Annotated[int, Field(ge=1)] = 400
    """Number of training patches of each class."""
    channels: Literal[1, 3] = 3
    """3 repeats the gray values."""


def load(options: Options, *, seed: int, device: "torch.device | str") -> "Task":
    """Return the task: which of the 4 images is a patch from?

    Each image is cut into three strips, the upper 60 % for training, the next 20 % for validation,
    the lower 20 % for the test: no pixel is in two sets. Training patches lie at random places
    and are flipped at random along both axes; the others lie on a grid without overlap. A patch
    holds gray values in [0, 1] minus their mean: with it, brightness alone would tell most patches
    apart.

    Args:
        options: see there.
        seed: source of the training patches, their order and their flips.
        device: of the batches.

    Raises:
        JobError: the installed scikit-image lacks an image.
    """
    folder = Path(str(files("skimage"))) / "data"
    gray_HW = [decode(folder / f"{name}.png")[:, :, 0] for name in CLASSES]
    return texture_task(gray_HW, options, seed=seed, device=device)


def sample_shape(options: Options) -> tuple[int, ...]:
    """Return (channels, height, width) of a patch."""
    return options.channels, options.patch_px, options.patch_px


def texture_task(
    gray_HW: Sequence[NDArray[np.uint8]],
    options: Options,
    *,
    seed: int,
    device: "torch.device | str",
) -> "ClassificationTask":
    """Return the task of `gray_HW`, one image (H, W) per class."""
    from wconv_jobs.tasks.classification import ClassificationTask  # imports torch, see the top

    patch_px = options.patch_px
    train, validation, test = _Patches(), _Patches(), _Patches()
    for number, image_HW in enumerate(gray_HW):
        height, width = image_HW.shape
        validation_top, test_top = height * 6 // 10, height * 8 // 10
        places = _random_places(
            validation_top - patch_px + 1,
            width - patch_px + 1,
            options.patches_per_class,
            seed,
            number,
        )
        train.cut(image_HW, number, places, patch_px)
        for patches, rows in (
            (validation, range(validation_top, test_top)),
            (test, range(test_top, height)),
        ):
            patches.cut(image_HW, number, _grid(rows, width, patch_px), patch_px)
    return ClassificationTask(
        train=train.part(options.channels),
        validation=validation.part(options.channels),
        test=test.part(options.channels),
        classes=len(gray_HW),
        normalize=centered,
        seed=seed,
        device=device,
        flip_across=True,
        flip_down=True,
    )


def centered(image_BCHW: "Tensor") -> "Tensor":
    """Return the gray values of each image, in [0, 1], minus their mean."""
    import torch  # here, see the top

    pixels = image_BCHW.shape[1:].numel()
    # Sums of whole numbers are exact: the mean has the same bits in every batch, on every device.
    sum_B = image_BCHW.sum((1, 2, 3), dtype=torch.int64)
    mean_B = (sum_B.to(torch.float64) * (1 / (255 * pixels))).to(torch.float32)
    return image_BCHW.to(torch.float32) * (1 / 255) - mean_B[:, None, None, None]


class _Patches:
    """The patches of one set, as they are cut out."""

    def __init__(self) -> None:
        self._patch_HW: list[NDArray[np.uint8]] = []
        self._classes: list[int] = []
        self._names: list[str] = []

    def cut(
        self,
        image_HW: NDArray[np.uint8],
        number: int,
        places: Sequence[tuple[int, int]],
        patch_px: int,
    ) -> None:
        for top, left in places:
            self._patch_HW.append(image_HW[top : top + patch_px, left : left + patch_px])
            self._classes.append(number)
            self._names.append(f"{CLASSES[number]} {top} {left}")

    def part(self, channels: int) -> "ImagePart":
        import torch  # here, see the top

        from wconv_jobs.tasks.classification import ImagePart

        patch_NHW = torch.from_numpy(np.stack(self._patch_HW))
        return ImagePart(
            patch_NHW[:, None].repeat(1, channels, 1, 1),
            torch.tensor(self._classes),
            torch.arange(len(self._classes)),
            self._names,
        )


def _grid(rows: range, width: int, patch_px: int) -> list[tuple[int, int]]:
    return [
        (top, left)
        for top in range(rows.start, rows.stop - patch_px + 1, patch_px)
        for left in range(0, width - patch_px + 1, patch_px)
    ]


def _random_places(
    tops: int, lefts: int, patches: int, seed: int, number: int
) -> list[tuple[int, int]]:
    import torch  # here, see the top

    from wconv_jobs.seeding import generator

    drawn = generator(seed, "crop", number)
    top = torch.randint(tops, (patches,), generator=drawn).tolist()
    left = torch.randint(lefts, (patches,), generator=drawn).tolist()
    return list(zip(top, left, strict=True))
