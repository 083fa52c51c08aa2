"""Structural similarity (SSIM), for images in [0, 1]."""

import math

import torch
from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._images import mean_over_channels, require_images, require_size
from wconv_jobs.metrics._mean import MeanOverSamples

# Shape letters: B batch, C channels, N planes, H height, W width.

TITLE = "SSIM"
UNIT = ""
KIND = "denoising"
GOAL = "maximize"
EVERY_EPOCH = True


def build() -> Metric:
    """Return SSIM per image, averaged over the images.

    SSIM = (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1) (sx^2 + sy^2 + C2)), where means m,
    variances s^2 and the covariance sxy, all biased, are those of windows of 11 x 11 pixels with
    Gaussian weights of standard deviation 1.5 and sum 1; C1 = 0.01^2, C2 = 0.03^2. Averaged over
    the windows that lie in the image and over the channels.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861, section III.
    """
    return MeanOverSamples(_ssim)


_WINDOW_PX = 11
_C1, _C2 = 0.01**2, 0.03**2


def _gaussian(standard_deviation_px: float) -> list[float]:
    distances = [(i - _WINDOW_PX // 2) / standard_deviation_px for i in range(_WINDOW_PX)]
    heights = [math.exp(-0.5 * distance**2) for distance in distances]
    return [height / sum(heights) for height in heights]


_WEIGHTS = _gaussian(1.5)


def _ssim(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    require_images(output_BCHW, target_BCHW)
    require_size("ssim", target_BCHW, _WINDOW_PX)
    return mean_over_channels(_planes_ssim, output_BCHW, target_BCHW)


def _planes_ssim(output_NHW: Tensor, target_NHW: Tensor) -> Tensor:
    mean_x, mean_y = _window_means(output_NHW), _window_means(target_NHW)
    # E[x y] - E[x] E[y] is right to 1e-15 in float64, far below C2.
    variance_x = _window_means(output_NHW * output_NHW) - mean_x * mean_x
    variance_y = _window_means(target_NHW * target_NHW) - mean_y * mean_y
    covariance = _window_means(output_NHW * target_NHW) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return (luminance * structure).mean(dim=(1, 2))


def _window_means(plane_NHW: Tensor) -> Tensor:
    """Return the weighted mean of each window that lies in the image."""
    # Shifted sums along each axis instead of a convolution: torch's float64 convolution on the CPU
    # copies the image for each tap, and on a GPU the order of its sums is cuDNN's choice.
    mean = plane_NHW
    for dim in (-1, -2):
        around, positions = mean, mean.shape[dim] - _WINDOW_PX + 1
        mean = torch.zeros_like(around.narrow(dim, 0, positions))
        for shift, weight in enumerate(_WEIGHTS):
            mean.add_(around.narrow(dim, shift, positions), alpha=weight)
    return mean
