"""Denoising as a task: clean images, random crops of them, and Gaussian noise that is seeded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from wconv_jobs.catalog import epoch_metrics
from wconv_jobs.errors import JobError
from wconv_jobs.files.images import SCORED_PX, shortened, size_problem
from wconv_jobs.tasks.pictures import Crops, PictureStore
from wconv_jobs.tasks.random_streams import below, normal, normal_at, streams
from wconv_jobs.tasks.task import Part

# Shape letters: B batch, C channels, H height, W width, P training images.

Noise = Literal["fresh", "fixed"]

AHEAD = 4096
"""Samples whose crops are drawn at once: for each batch, it would take as long as cutting them."""


class DenoisingTask:
    """Additive white Gaussian noise on 8-bit RGB images, a `wconv_jobs.tasks.task.Task`.

    target = image in [0, 1];  input = target + (noise_sigma / 255) * N(0, 1);
    loss = mean squared error. Training samples are square crops at random places; validation and
    test items are whole images, one in a batch.

    The crop of a sample is drawn from (seed, "crop", epoch, sample), its noise from (seed, "train
    noise", epoch, sample), that of an item from (seed, "validation noise", name) or (seed, "test
    noise", name). Fixed noise is drawn from (seed, "fixed noise", image) and the place in the
    image instead: wherever a crop lies, it shows the same noisy image.
    """

    classes: int | None = None
    input_is_estimate: bool = True

    def __init__(
        self,
        *,
        store: PictureStore,
        parts: Mapping[Literal["train", "validation", "test"], range],
        seed: int,
        device: torch.device | str,
        noise_sigma: float,
        crop_px: int,
        crops_per_epoch: int,
        noise: Noise = "fresh",
        clip: bool = False,
        flips: bool = False,
    ) -> None:
        """Take the images.

        Args:
            store: the images of all parts.
            parts: numbers of the images of each part.
            seed: see the class.
            device: of the batches.
            noise_sigma: standard deviation of the noise, gray levels of 255.
            crop_px: width and height of the training crops, pixels.
            crops_per_epoch: training samples in an epoch; each image is as likely as any other.
            noise: of the training: fresh for each sample, or fixed, see the class.
            clip: cut inputs to [0, 1], as an 8-bit camera would; then the noise is no longer
                Gaussian in dark and in bright places.
            flips: show each training crop in one of the 8 symmetries of a square at random.

        Raises:
            JobError: a training image is smaller than the crops, or another one too small to be
                scored.
        """
        self.epoch_samples: int = crops_per_epoch
        self.metrics: tuple[str, ...] = epoch_metrics("denoising")
        self._store = store
        self._parts = parts
        self._seed = seed
        self._device = torch.device(device)
        self._noise_std = noise_sigma / 255
        self._crop_px = crop_px
        self._fixed = noise == "fixed"
        self._clip = clip
        self._flips = flips
        self._require_sizes()
        self._train_P = torch.tensor(parts["train"], device=store.device)
        nothing = range(0)
        self._drawn = -1, nothing, self._draw(-1, self._numbers(nothing, store.device))

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return noisy and clean crops, both (B, 3, crop_px, crop_px)."""
        crops = self._crops(epoch, samples)
        target_BCHW = self._unit(self._store.crops(crops))
        if self._fixed:
            stream_B = streams(self._seed, "fixed noise", samples=crops.picture_B)
            # The images may be in the host's memory, but noise is made where it is used.
            places = crops.to(self._device).elements()
            noise_BN = normal_at(stream_B.to(self._device), places.flatten(1))
        else:
            stream_B = streams(
                self._seed, "train noise", epoch, samples=self._numbers(samples, self._device)
            )
            noise_BN = normal(stream_B, target_BCHW[0].numel())
        return self._noisy(target_BCHW, noise_BN), target_BCHW

    def names(self, part: Part) -> Sequence[str]:
        """Return the names of the images of a part."""
        return [self._store.names[number] for number in self._parts[part]]

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield whole images, noisy and clean, both (1, 3, H, W): their sizes differ.

        They are made on the way; a large data set's float32 copies would take 24 bytes per pixel.
        """
        for item in items:
            number = self._parts[part][item]
            target_BCHW = self._unit(self._store.picture(number).permute(2, 0, 1)[None])
            stream_B = streams(
                self._seed,
                f"{part} noise",
                self._store.names[number],
                samples=torch.zeros(1, dtype=torch.int64, device=self._device),
            )
            yield self._noisy(target_BCHW, normal(stream_B, target_BCHW.numel())), target_BCHW

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

    def _require_sizes(self) -> None:
        problems = []
        for part, numbers in self._parts.items():
            cropped = part == "train"
            for number in numbers:
                problem = size_problem(
                    self._store.names[number],
                    *self._store.sizes_px[number],
                    min_px=self._crop_px if cropped else SCORED_PX,
                    use="cropped" if cropped else "scored",
                )
                problems += [problem] if problem else []
        if problems:
            raise JobError("\n".join(shortened(problems)))

    def _crops(self, epoch: int, samples: range) -> Crops:
        """Return the crops of some samples, drawn together with those that come next."""
        known, ahead, crops = self._drawn
        first, last = min(samples[0], samples[-1]), max(samples[0], samples[-1])
        if known != epoch or first not in ahead or last not in ahead:
            ahead = range(first, max(last + 1, first + AHEAD))
            crops = self._draw(epoch, self._numbers(ahead, self._store.device))
            self._drawn = epoch, ahead, crops
        return crops.part(self._numbers(samples, self._store.device) - ahead.start)

    def _draw(self, epoch: int, sample_B: Tensor) -> Crops:
        stream_B = streams(self._seed, "crop", epoch, samples=sample_B)
        pictures_B1 = torch.full_like(sample_B, len(self._train_P))[:, None]
        picture_B = self._train_P[below(stream_B, pictures_B1)[:, 0]]
        height_B, width_B = self._store.height_P[picture_B], self._store.width_P[picture_B]
        # The first number of the stream chose the image.
        limit_B4 = torch.stack(
            [
                pictures_B1[:, 0],
                height_B - self._crop_px + 1,
                width_B - self._crop_px + 1,
                torch.full_like(sample_B, 8 if self._flips else 1),
            ],
            dim=1,
        )
        _, top_B, left_B, turn_B = below(stream_B, limit_B4).unbind(1)
        return Crops(self._crop_px, picture_B, width_B, top_B, left_B, turn_B)

    def _unit(self, pixels_BCHW: Tensor) -> Tensor:
        """Return bytes as float32 in [0, 1] on the device of the task."""
        if self._device.type == "cuda" and pixels_BCHW.device.type == "cpu":
            pixels_BCHW = pixels_BCHW.pin_memory()
        moved_BCHW = pixels_BCHW.to(self._device, non_blocking=True)
        unit_BCHW = moved_BCHW.to(torch.float32, memory_format=torch.contiguous_format)
        # A product, because a GPU divides by a number with other bits than a CPU; 255 gives 1.
        return unit_BCHW.mul_(1 / 255)

    def _noisy(self, target_BCHW: Tensor, noise_BN: Tensor) -> Tensor:
        noisy_BCHW = target_BCHW.add(noise_BN.reshape(target_BCHW.shape), alpha=self._noise_std)
        return noisy_BCHW.clamp_(0, 1) if self._clip else noisy_BCHW

    @staticmethod
    def _numbers(samples: range, device: torch.device) -> Tensor:
        return torch.arange(samples.start, samples.stop, samples.step, device=device)
