"""Universal image quality index (UIQ) of whole images."""

from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._images import mean_over_channels, require_images
from wconv_jobs.metrics._mean import MeanOverSamples
from wconv_jobs.metrics._universal_quality import Moments, universal_quality

# Shape letters: B batch, C channels, N planes, P pixels of a plane, H height, W width.

TITLE = "whole-image UIQ"
UNIT = ""
KIND = "denoising"
GOAL = "maximize"
EVERY_EPOCH = False


def build() -> Metric:
    """Return the UIQ of each image with one window, the whole image, averaged over the images.

    UIQ = 4 sxy mx my / ((sx^2 + sy^2) (mx^2 + my^2)), where means m, variances s^2 and the
    covariance sxy are those of all pixels of a channel. Averaged over the channels. Channels
    without variance or mean: see `wconv_jobs.metrics._universal_quality`.

    Source: Wang and Bovik 2002, doi:10.1109/97.995823, who define it and use it in small windows.
    """
    return MeanOverSamples(_uiq_global)


def _uiq_global(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    require_images(output_BCHW, target_BCHW)
    return mean_over_channels(_planes_uiq_global, output_BCHW, target_BCHW)


def _planes_uiq_global(output_NHW: Tensor, target_NHW: Tensor) -> Tensor:
    mean_x, deviation_x_NP = _mean_and_deviations(output_NHW)
    mean_y, deviation_y_NP = _mean_and_deviations(target_NHW)
    moments = Moments(
        mean_x,
        mean_y,
        (deviation_x_NP * deviation_x_NP).mean(dim=1),
        (deviation_y_NP * deviation_y_NP).mean(dim=1),
        (deviation_x_NP * deviation_y_NP).mean(dim=1),
    )
    return universal_quality(moments)


def _mean_and_deviations(plane_NHW: Tensor) -> tuple[Tensor, Tensor]:
    pixels_NP = plane_NHW.flatten(1)
    # Seen from its first pixel, a flat image is exactly 0, while the mean of many times 0.1 is
    # not 0.1 after rounding.
    first_N1 = pixels_NP[:, :1]
    offset_NP = pixels_NP - first_N1
    mean_N1 = offset_NP.mean(dim=1, keepdim=True)
    return (first_N1 + mean_N1).squeeze(1), offset_NP - mean_N1
