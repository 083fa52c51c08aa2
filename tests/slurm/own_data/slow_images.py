"""A data set of studies on the test cluster: training takes time, but next to no work.

Many tests share two cores. What they wait for is a training that goes on, and not its numbers.
"""

import time

import torch
from torch import Tensor

from wconv_jobs.tasks.tensors import TensorTask

_SIZE_PX = 12
_TRAINING_SAMPLES = 32


class SlowImages(TensorTask):
    """Images to be denoised, each batch of which comes after a pause."""

    def __init__(
        self,
        parts: dict[str, tuple[Tensor, Tensor]],
        *,
        seed: int,
        device: torch.device | str,
        batch_s: float,
    ) -> None:
        super().__init__(parts, kind="denoising", seed=seed, device=device)
        self._batch_s = batch_s

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return the batch, later."""
        time.sleep(self._batch_s)
        return super().train_batch(epoch, samples)


def load(*, seed: int, device: torch.device | str, batch_s: float = 0.0) -> SlowImages:
    """Return the data set.

    Args:
        seed: of images and noise.
        device: of the batches.
        batch_s: how long a training batch takes, seconds.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)

    def noisy(count: int) -> tuple[Tensor, Tensor]:
        clean = torch.rand(count, 3, _SIZE_PX, _SIZE_PX, generator=generator)
        return clean + 0.1 * torch.randn(clean.shape, generator=generator), clean

    parts = {"train": noisy(_TRAINING_SAMPLES), "validation": noisy(2), "test": noisy(2)}
    return SlowImages(parts, seed=seed, device=device, batch_s=batch_s)
