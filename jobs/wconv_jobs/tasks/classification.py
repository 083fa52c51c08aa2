"""Classification as a task: 8-bit images, flipped, cut and normalized where the training runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wconv_jobs.catalog import epoch_metrics
from wconv_jobs.errors import JobError
from wconv_jobs.seeding import generator
from wconv_jobs.tasks.evaluation_batches import evaluation_batches
from wconv_jobs.tasks.random_streams import below, streams
from wconv_jobs.tasks.residence import resident
from wconv_jobs.tasks.task import Part

# Shape letters: B batch, C channels, H height, W width, K classes, N images of a file,
# S images of a part.

Normalize = Callable[[Tensor], Tensor]
"""Converts 8-bit images to float32, (B, C, H, W) on any device, each image on its own."""


@dataclass(frozen=True)
class ImagePart:
    """The training, validation or test set: a selection of images."""

    image_NCHW: Tensor
    """uint8, in memory or mapped from a file; parts may share it."""
    class_N: Tensor
    """int64, the class label of each image."""
    number_S: Tensor
    """int64, the images that belong to the part, in their order."""
    names: Sequence[str] = ()
    """Stable name of each image of the part, e.g. "test 17"; not needed for training."""


class ClassificationTask:
    """A `wconv_jobs.tasks.task.Task`: images (B, C, H, W) and their class labels (B,).

    Every epoch shows each training image once, in an order drawn from (seed, "order", epoch). The
    image is normalized, surrounded with `pad_px` zeros, which is the mean, cut back to its size at
    a random place, and flipped with a probability of 1/2 along each axis that is asked for. Place
    and flips are drawn from (seed, "augmentation", epoch) and the sample's number, all of them
    whether asked for or not: a study with crops sees the flips of the study without.

    The images lie on the GPU as bytes when they fit there, see `wconv_jobs.tasks.residence`.
    """

    input_is_estimate: bool = False

    def __init__(
        self,
        *,
        train: ImagePart,
        validation: ImagePart,
        test: ImagePart,
        classes: int,
        normalize: Normalize,
        seed: int,
        device: torch.device | str,
        flip_across: bool = False,
        flip_down: bool = False,
        pad_px: int = 0,
    ) -> None:
        """Take the parts.

        Args:
            train: shown in training.
            validation: with the names of its images.
            test: with the names of its images.
            classes: number of classes; class labels are below it.
            normalize: see there and `standardized`.
            seed: source of order, places and flips.
            device: of the batches.
            flip_across: flip left and right.
            flip_down: flip top and bottom.
            pad_px: width of the border, pixels.
        """
        self.epoch_samples: int = len(train.number_S)
        self.metrics: tuple[str, ...] = epoch_metrics("classification")
        self.classes: int | None = classes
        self._classes = classes
        self._device = torch.device(device)
        self._train, self._parts = _at_home(train, validation, test, self._device)
        self._normalize = normalize
        self._seed = seed
        self._flip_across = flip_across
        self._flip_down = flip_down
        self._pad_px = pad_px
        self._shown: _Shown | None = None

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return images (B, C, H, W) and classes (B,)."""
        shown = self._shown_in(epoch)
        part = slice(samples.start, samples.stop, samples.step)
        image_BCHW, class_B = self._gathered(self._train, shown.number_S[part])
        return self._augmented(image_BCHW, shown.draw_S4[part]), class_B

    def names(self, part: Part) -> Sequence[str]:
        """Return the names of a part's images."""
        return self._parts[part].names

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, C, H, W), not augmented, and classes (B,) of items in their order."""
        images = self._parts[part]
        for batch in evaluation_batches(items, images.image_NCHW.shape[2:].numel()):
            yield self._gathered(images, images.number_S[batch])

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy of logits (B, K) and classes (B,).

        Raises:
            JobError: the model has not as many logits as there are classes.
        """
        if output.ndim != 2 or output.shape[1] != self._classes:
            raise JobError(
                f"the model returns {tuple(output.shape)}, but the data need logits (B, classes) "
                f"for {self._classes} classes. Use a classifier with num_classes: {self._classes}."
            )
        return F.cross_entropy(output, target, label_smoothing=label_smoothing)

    def _gathered(self, images: ImagePart, number_B: Tensor) -> tuple[Tensor, Tensor]:
        image_BCHW = _to(images.image_NCHW[number_B], self._device)
        return self._normalize(image_BCHW), _to(images.class_N[number_B], self._device)

    def _augmented(self, image_BCHW: Tensor, draw_B4: Tensor) -> Tensor:
        pad = self._pad_px
        if not (pad or self._flip_across or self._flip_down):
            return image_BCHW
        height, width = image_BCHW.shape[2:]
        top_B1, left_B1, down_B1, across_B1 = (draw_B4[:, n, None] for n in range(4))
        row_BH = top_B1 + _places(height, down_B1 if self._flip_down else None, draw_B4.device)
        column_BW = left_B1 + _places(
            width, across_B1 if self._flip_across else None, draw_B4.device
        )
        padded_BCHW = F.pad(image_BCHW, (pad, pad, pad, pad))
        # Border, cut and flips in one look-up; indexing with four tensors takes eight times as
        # long on a CPU.
        place_BHW = row_BH[:, :, None] * padded_BCHW.shape[3] + column_BW[:, None, :]
        place_BCP = place_BHW.flatten(1)[:, None].expand(-1, image_BCHW.shape[1], -1)
        return padded_BCHW.flatten(2).gather(2, place_BCP).view(image_BCHW.shape)

    def _shown_in(self, epoch: int) -> "_Shown":
        if self._shown is None or self._shown.epoch != epoch:
            order_S = torch.randperm(
                self.epoch_samples, generator=generator(self._seed, "order", epoch)
            )
            number_S = self._train.number_S
            sample_S = torch.arange(self.epoch_samples, device=self._device)
            limit_4 = torch.tensor([2 * self._pad_px + 1] * 2 + [2] * 2, device=self._device)
            self._shown = _Shown(
                epoch,
                number_S[order_S.to(number_S.device)],
                below(
                    streams(self._seed, "augmentation", epoch, samples=sample_S),
                    limit_4.expand(self.epoch_samples, 4),
                ),
            )
        return self._shown


def standardized(
    mean: Sequence[float], std: Sequence[float], device: torch.device | str
) -> Normalize:
    """Return the function (image / 255 - mean) / std, channel by channel.

    Args:
        mean: of each channel, of gray levels in [0, 1].
        std: standard deviations, in the same form.
        device: of the images.
    """

    def per_channel(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)

    scale_C11 = per_channel([1 / (255 * s) for s in std])
    offset_C11 = per_channel([m / s for m, s in zip(mean, std, strict=True)])
    # A product and a difference, because a GPU divides by a number with other bits than a CPU.
    return lambda image_BCHW: image_BCHW * scale_C11 - offset_C11


@dataclass(frozen=True)
class _Shown:
    """What one epoch shows."""

    epoch: int
    number_S: Tensor
    """Number of the image of each sample, where the images lie."""
    draw_S4: Tensor
    """First row and column of the cut in the padded image, flips down and across (0 or 1), on the
    device of the batches."""


def _at_home(
    train: ImagePart, validation: ImagePart, test: ImagePart, device: torch.device
) -> tuple[ImagePart, dict[Part, ImagePart]]:
    """Return the parts with their images where they fit, shared images once."""
    homes: dict[int, Tensor] = {}

    def moved(part: ImagePart) -> ImagePart:
        # The key is the address of an object that `part` keeps alive.
        key = id(part.image_NCHW)
        if key not in homes:
            homes[key] = resident(part.image_NCHW, device)
        home = homes[key].device
        return ImagePart(
            homes[key], part.class_N.to(home), part.number_S.to(home), tuple(part.names)
        )

    return moved(train), {"validation": moved(validation), "test": moved(test)}


def _to(batch: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and batch.device.type == "cpu":
        # From pinned memory the copy runs while the GPU computes.
        return batch.pin_memory().to(device, non_blocking=True)
    return batch


def _places(size: int, flip_B1: Tensor | None, device: torch.device) -> Tensor:
    """Return 0, 1, ..., size - 1 for each image, backwards where it is flipped."""
    place_1P = torch.arange(size, device=device)[None]
    return place_1P if flip_B1 is None else torch.where(flip_B1 == 1, place_1P.flip(1), place_1P)
