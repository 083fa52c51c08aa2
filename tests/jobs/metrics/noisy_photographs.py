"""Photographs with seeded noise, to measure metrics on."""

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch import Tensor

# Shape letters: B batch, C channels, H height, W width.

Array = NDArray[np.float64]


def noisy_photograph(height: int, width: int, noise_sigma: float = 25) -> tuple[Array, Array]:
    """Return a noisy and a clean photograph with values 0..1, each of shape (H, W, 3).

    Args:
        height: H; beyond 512 pixels, the photograph is repeated.
        width: W, likewise.
        noise_sigma: standard deviation of the noise on the scale 0..255. The noise is not clipped.
    """
    photograph_HWC = data.astronaut()  # type: ignore[no-untyped-call]
    clean_HWC = np.tile(photograph_HWC, (2, 2, 1))[:height, :width] / 255
    noise_HWC = np.random.default_rng(0).normal(0, noise_sigma / 255, clean_HWC.shape)
    return clean_HWC + noise_HWC, clean_HWC


def as_batch(image_HWC: Array) -> Tensor:
    """Return an image as a batch of one, shape (1, C, H, W), float64."""
    return torch.from_numpy(image_HWC.copy()).permute(2, 0, 1).unsqueeze(0)
