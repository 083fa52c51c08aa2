"""Feature similarity (FSIMc) of luminance and chrominance, for images in [0, 1]."""

from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._feature_similarity import feature_similarity
from wconv_jobs.metrics._mean import MeanOverSamples

# Shape letters: B batch, C channels, H height, W width.

TITLE = "FSIMc"
UNIT = ""
KIND = "denoising"
GOAL = "maximize"
EVERY_EPOCH = False


def build() -> Metric:
    """Return FSIMc per image, averaged over the images.

    FSIMc = sum(S_PC S_G Re((S_I S_Q)^0.03) PCm) / sum(PCm): FSIM, with the similarity of the
    chrominance channels I and Q as a further factor. Images are red, green, blue (C = 3).

    Source and details: `wconv_jobs.metrics._feature_similarity`.
    """
    return MeanOverSamples(_fsimc)


def _fsimc(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return feature_similarity("fsimc", output_BCHW, target_BCHW, chromatic=True)
