"""Denoising as a task: clean pictures, random crops of them, and Gaussian noise that is seeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wconv_jobs.errors import JobError
from wconv_jobs.images import Picture, require_size
from wconv_jobs.seeding import generator
from wconv_jobs.task import EvaluationItem, Part

# Shape letters: B batch, C channels, H height, W width, S samples of an epoch.


class DenoisingTask:
    """Additive white Gaussian noise on 8-bit RGB pictures, a `wconv_jobs.task.Task`.

    target = picture in [0, 1];  input = target + (noise_sigma / 255) * N(0, 1), not clipped;
    loss = mean squared error. Training samples are square crops at random places, each with noise
    of its own; validation and test items are whole pictures.

    The crops of an epoch are drawn from (seed, "crop", epoch), the noise of a sample from
    (seed, "train noise", epoch, sample), that of an item from (seed, "validation noise", name) or
    (seed, "test noise", name). Tensors are float32 on the CPU.
    """

    input_is_estimate: bool = True

    def __init__(
        self,
        *,
        train: Sequence[Picture],
        validation: Sequence[Picture],
        test: Sequence[Picture],
        seed: int,
        noise_sigma: float,
        crop_px: int,
        crops_per_epoch: int,
        metrics: tuple[str, ...],
    ) -> None:
        """Take the decoded pictures, which stay in memory at 3 bytes per pixel.

        Args:
            train: at least as large as the crops.
            validation: of any size.
            test: of any size.
            seed: see the class.
            noise_sigma: standard deviation of the noise, grey levels of 255.
            crop_px: width and height of the training crops, pixels.
            crops_per_epoch: training samples in an epoch; each picture is as likely as any other.
            metrics: see `wconv_jobs.task.Task`.

        Raises:
            JobError: a training picture is smaller than the crops.
        """
        for picture in train:
            require_size(picture, crop_px)
        self.epoch_samples: int = crops_per_epoch
        self.metrics = metrics
        self._train = train
        self._parts: dict[Part, Sequence[Picture]] = {"validation": validation, "test": test}
        self._seed = seed
        self._noise_std = noise_sigma / 255
        self._crop_px = crop_px
        self._crops: _Crops | None = None

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return noisy and clean crops, both (B, 3, crop_px, crop_px)."""
        crops = self._crops_of(epoch)
        px = self._crop_px
        target_BCHW = torch.empty(len(samples), 3, px, px)
        noise_BCHW = torch.empty_like(target_BCHW)
        for index, sample in enumerate(samples):
            picture, top, left = crops.picture_S[sample], crops.top_S[sample], crops.left_S[sample]
            crop_HWC = self._train[picture].pixels_HWC[top : top + px, left : left + px]
            target_BCHW[index] = torch.tensor(crop_HWC).permute(2, 0, 1)
            noise_BCHW[index].normal_(
                generator=generator(self._seed, "train noise", epoch, sample)
            )
        target_BCHW /= 255
        return target_BCHW + self._noise_std * noise_BCHW, target_BCHW

    def items(self, part: Part) -> Sequence[EvaluationItem]:
        """Return the whole pictures of a part; an item is made each time it is asked for.

        A large data set's float32 copies would take 24 bytes per pixel.
        """
        return _NoisyPictures(self._parts[part], self._noise_std, self._seed, f"{part} noise")

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the mean squared error over all images, channels and pixels.

        Raises:
            JobError: label smoothing was asked for, or the shapes differ.
        """
        if label_smoothing != 0:
            raise JobError(
                f"label_smoothing is {label_smoothing}, but denoising has no labels. "
                "Set recipe.label_smoothing to 0."
            )
        if output.shape != target.shape:
            raise JobError(
                f"the model returns {tuple(output.shape)} for images of {tuple(target.shape)}. "
                "Use a model that returns images, with 3 channels."
            )
        return F.mse_loss(output, target)

    def _crops_of(self, epoch: int) -> "_Crops":
        if self._crops is None or self._crops.epoch != epoch:
            self._crops = _draw_crops(
                self._train, self._crop_px, self.epoch_samples, self._seed, epoch
            )
        return self._crops


@dataclass(frozen=True)
class _Crops:
    """Where the crops of one epoch lie: picture number, first row and first column of each."""

    epoch: int
    picture_S: list[int]
    top_S: list[int]
    left_S: list[int]


def _draw_crops(
    pictures: Sequence[Picture], crop_px: int, crops: int, seed: int, epoch: int
) -> _Crops:
    drawn = generator(seed, "crop", epoch)
    sizes = np.array([picture.pixels_HWC.shape[:2] for picture in pictures])
    places = torch.from_numpy(sizes - crop_px + 1)
    picture_S = torch.randint(len(pictures), (crops,), generator=drawn)
    # The remainder of a number this large is uniform to within 2**-40.
    top_S = torch.randint(2**62, (crops,), generator=drawn) % places[picture_S, 0]
    left_S = torch.randint(2**62, (crops,), generator=drawn) % places[picture_S, 1]
    return _Crops(epoch, picture_S.tolist(), top_S.tolist(), left_S.tolist())


class _NoisyPictures(Sequence[EvaluationItem]):
    def __init__(
        self, pictures: Sequence[Picture], noise_std: float, seed: int, role: str
    ) -> None:
        self._pictures = pictures
        self._noise_std = noise_std
        self._seed = seed
        self._role = role

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> EvaluationItem: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[EvaluationItem]: ...

    def __getitem__(self, index: int | slice) -> EvaluationItem | Sequence[EvaluationItem]:
        if isinstance(index, slice):
            return _NoisyPictures(self._pictures[index], self._noise_std, self._seed, self._role)
        picture = self._pictures[index]
        clean_CHW = torch.tensor(picture.pixels_HWC).permute(2, 0, 1).contiguous() / 255
        noise_CHW = torch.empty_like(clean_CHW).normal_(
            generator=generator(self._seed, self._role, picture.name)
        )
        return EvaluationItem(picture.name, clean_CHW + self._noise_std * noise_CHW, clean_CHW)
