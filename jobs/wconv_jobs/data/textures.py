"""Classification of patches of the textures that come with scikit-image: no download.

Only images under CC0 are used. Licences are those that scikit-image 0.26 states in the
documentation of `skimage.data`:

    class  image   pixels     licence
    0      brick   512 x 512  CC0 (CC0Textures)
    1      grass   512 x 512  CC0 (linolafett)
    2      gravel  512 x 512  CC0 (CC0Textures)
    3      cell    550 x 660  CC0 (Mueller et al. 2018)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from wconv_jobs.errors import JobError
from wconv_jobs.images import decode
from wconv_jobs.seeding import generator
from wconv_jobs.task import EvaluationItem, Part, Task

# Shape letters: B batch, C channels, H height, W width, K classes, S training samples.

METRICS = ("accuracy",)
CLASSES = ("brick", "grass", "gravel", "cell")


def load(
    *,
    seed: int,
    patch_px: Annotated[int, Field(ge=8, le=96)] = 32,
    patches_per_class: Annotated[int, Field(ge=1)] = 400,
    channels: Literal[1, 3] = 3,
) -> Task:
    """Return the task: which of the 4 images is a patch from?

    Each image is cut into three strips, the upper 60 % for training, the next 20 % for validation,
    the lower 20 % for the test: no pixel is in two parts. Training patches lie at random places,
    the others on a grid without overlap. A patch holds grey values in [0, 1] minus their mean:
    with it, brightness alone would tell most patches apart.

    Args:
        seed: source of the training patches, their order and their flips.
        patch_px: width and height, pixels; the lowest strip has 102.
        patches_per_class: number of training patches of each class.
        channels: 3 repeats the grey values.

    Raises:
        JobError: the installed scikit-image lacks an image.
    """
    folder = Path(str(files("skimage"))) / "data"
    grey_HW = [torch.tensor(decode(folder / f"{name}.png")[:, :, 0]) for name in CLASSES]
    return TextureTask(grey_HW, seed, patch_px, patches_per_class, channels)


class TextureTask:
    """A `wconv_jobs.task.Task`: patches (B, C, H, W) and their class numbers (B,).

    Every epoch shows each training patch once, in an order drawn from (seed, "order", epoch),
    flipped at random along both axes as drawn from (seed, "flip", epoch).
    """

    metrics: tuple[str, ...] = METRICS
    input_is_estimate: bool = False

    def __init__(
        self,
        grey_HW: Sequence[Tensor],
        seed: int,
        patch_px: int,
        patches_per_class: int,
        channels: int,
    ) -> None:
        """Cut out the patches of `grey_HW`, one uint8 image (H, W) per class."""
        self._seed = seed
        self._channels = channels
        patches: list[Tensor] = []
        self._items: dict[Part, list[EvaluationItem]] = {"validation": [], "test": []}
        for number, image_HW in enumerate(grey_HW):
            height = image_HW.shape[0]
            train_end, validation_end = height * 6 // 10, height * 8 // 10
            drawn = generator(seed, "crop", number)
            patches += _at_random(image_HW[:train_end], patch_px, patches_per_class, drawn)
            self._items["validation"] += self._grid(
                image_HW, range(train_end, validation_end), patch_px, number
            )
            self._items["test"] += self._grid(
                image_HW, range(validation_end, height), patch_px, number
            )
        self._patch_SHW = torch.stack(patches)
        self._class_S = torch.arange(len(grey_HW)).repeat_interleave(patches_per_class)
        self.epoch_samples: int = len(patches)
        self._shown: _Shown | None = None

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return patches (B, C, patch_px, patch_px) and classes (B,)."""
        shown = self._shown_in(epoch)
        part = slice(samples.start, samples.stop, samples.step)
        number_B = shown.order_S[part]
        flip_B2 = shown.flip_S2[part, :, None, None]
        patch_BHW = self._patch_SHW[number_B]
        patch_BHW = torch.where(flip_B2[:, 0], patch_BHW.flip(1), patch_BHW)
        patch_BHW = torch.where(flip_B2[:, 1], patch_BHW.flip(2), patch_BHW)
        patch_BCHW = patch_BHW[:, None].repeat(1, self._channels, 1, 1)
        return patch_BCHW, self._class_S[number_B]

    def items(self, part: Part) -> Sequence[EvaluationItem]:
        """Return the patches of a part's strips, named after class, row and column."""
        return self._items[part]

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy of logits (B, K) and classes (B,).

        Raises:
            JobError: the model has fewer logits than there are classes.
        """
        classes = len(CLASSES)
        if output.ndim != 2 or output.shape[1] < classes:
            raise JobError(
                f"the model returns {tuple(output.shape)}, but textures needs logits (B, classes) "
                f"for {classes} classes. Use a classifier with num_classes: {classes}."
            )
        return F.cross_entropy(output, target, label_smoothing=label_smoothing)

    def _grid(
        self, image_HW: Tensor, rows: range, patch_px: int, number: int
    ) -> list[EvaluationItem]:
        items = []
        for top in range(rows.start, rows.stop - patch_px + 1, patch_px):
            for left in range(0, image_HW.shape[1] - patch_px + 1, patch_px):
                patch_HW = image_HW[top : top + patch_px, left : left + patch_px]
                patch_CHW = _centred(patch_HW).repeat(self._channels, 1, 1)
                name = f"{CLASSES[number]} {top} {left}"
                items.append(EvaluationItem(name, patch_CHW, torch.tensor(number)))
        return items

    def _shown_in(self, epoch: int) -> "_Shown":
        if self._shown is None or self._shown.epoch != epoch:
            samples = self.epoch_samples
            order_S = torch.randperm(samples, generator=generator(self._seed, "order", epoch))
            flip_S2 = torch.randint(
                2, (samples, 2), generator=generator(self._seed, "flip", epoch)
            )
            self._shown = _Shown(epoch, order_S, flip_S2.bool())
        return self._shown


@dataclass(frozen=True)
class _Shown:
    """What one epoch shows: the number of the patch of each sample, and its two flips."""

    epoch: int
    order_S: Tensor
    flip_S2: Tensor


def _centred(patch_HW: Tensor) -> Tensor:
    value_HW = patch_HW / 255
    return value_HW - value_HW.mean()


def _at_random(
    image_HW: Tensor, patch_px: int, patches: int, drawn: torch.Generator
) -> list[Tensor]:
    height, width = image_HW.shape
    tops = torch.randint(height - patch_px + 1, (patches,), generator=drawn).tolist()
    lefts = torch.randint(width - patch_px + 1, (patches,), generator=drawn).tolist()
    return [
        _centred(image_HW[top : top + patch_px, left : left + patch_px])
        for top, left in zip(tops, lefts, strict=True)
    ]
