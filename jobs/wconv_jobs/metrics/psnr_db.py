"""Peak signal-to-noise ratio in decibel, for images in [0, 1]."""

from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._images import mse
from wconv_jobs.metrics._mean import MeanOverSamples

# Shape letters: B batch, C channels, H height, W width.

TITLE = "PSNR"
UNIT = "dB"
KIND = "denoising"
GOAL = "maximize"
EVERY_EPOCH = True


def build() -> Metric:
    """Return PSNR = 10 log10(1 / MSE) per image over all channels, averaged over the images.

    It is infinite as soon as one output equals its target.
    """
    return MeanOverSamples(_psnr_db)


def _psnr_db(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return -10.0 * mse(output_BCHW, target_BCHW).log10()
