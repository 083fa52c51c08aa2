"""Feature similarity (FSIM) of the luminance, for images in [0, 1]."""

from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._feature_similarity import feature_similarity
from wconv_jobs.metrics._mean import MeanOverSamples

# Shape letters: B batch, C channels, H height, W width.

TITLE = "FSIM"
UNIT = ""
KIND = "denoising"
GOAL = "maximize"
EVERY_EPOCH = False


def build() -> Metric:
    """Return FSIM per image, averaged over the images.

    FSIM = sum(S_PC S_G PCm) / sum(PCm) over the pixels of the luminance, reduced to about 256
    pixels on the shorter side: similarity of phase congruency times similarity of gradients,
    weighted by the larger phase congruency. Images are gray (C = 1) or red, green, blue (C = 3).

    Source and details: `wconv_jobs.metrics._feature_similarity`.
    """
    return MeanOverSamples(_fsim)


def _fsim(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return feature_similarity("fsim", output_BCHW, target_BCHW, chromatic=False)
