"""Root mean squared error, normalized by the range of the reference image."""

import torch
from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._images import mse
from wconv_jobs.metrics._mean import MeanOverSamples

# Shape letters: B batch, C channels, H height, W width.

TITLE = "NRMSE"
UNIT = ""
KIND = "denoising"
GOAL = "minimize"
EVERY_EPOCH = True
MAY_BE_INFINITE = True  # by definition, for a target of one color


def build() -> Metric:
    """Return NRMSE = sqrt(MSE) / (max - min of the target) per image, averaged over the images.

    Extremes and MSE are over all channels. The NRMSE of an output that equals its target is 0; of
    any other output for a target of a single color value, infinite.
    """
    return MeanOverSamples(_nrmse)


def _nrmse(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    rmse_B = mse(output_BCHW, target_BCHW).sqrt()
    low_B, high_B = target_BCHW.to(torch.float64).flatten(1).aminmax(dim=1)
    # Without the distinction, 0 / 0 of a flat image that was met exactly would be NaN.
    return torch.where(rmse_B == 0, rmse_B, rmse_B / (high_B - low_B))
