"""Universal image quality index (UIQ) of sliding windows."""

import torch
from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._images import mean_over_channels, require_images, require_size
from wconv_jobs.metrics._mean import MeanOverSamples
from wconv_jobs.metrics._universal_quality import Moments, universal_quality

# Shape letters: B batch, C channels, N planes, H height, W width.

TITLE = "UIQ"
UNIT = ""
KIND = "denoising"
GOAL = "maximize"
EVERY_EPOCH = False


def build() -> Metric:
    """Return UIQ per image, averaged over the images.

    UIQ = 4 sxy mx my / ((sx^2 + sy^2) (mx^2 + my^2)), where means m, variances s^2 and the
    covariance sxy are those of windows of 8 x 8 pixels with equal weights. Averaged over the
    windows, at each position in the image, and over the channels. Windows without variance or
    mean: see `wconv_jobs.metrics._universal_quality`.

    Source: Wang and Bovik 2002, doi:10.1109/97.995823.
    """
    return MeanOverSamples(_uiq)


def planes_uiq(output_NHW: Tensor, target_NHW: Tensor, window_px: int = 8) -> Tensor:
    """Return the UIQ of each plane, shape (N,), for windows of any size.

    Args:
        output_NHW: output, float64.
        target_NHW: target of the same shape.
        window_px: height and width of the windows.
    """
    none_NHW = torch.zeros_like(output_NHW)
    pixels = Moments(output_NHW, target_NHW, none_NHW, none_NHW, none_NHW)
    rows = _moments_of_runs(pixels, window_px, dim=-1)
    windows = _moments_of_runs(rows, window_px, dim=-2)
    return universal_quality(windows).mean(dim=(1, 2))


def _uiq(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    require_images(output_BCHW, target_BCHW)
    require_size("uiq", target_BCHW, 8)
    return mean_over_channels(planes_uiq, output_BCHW, target_BCHW)


def _moments_of_runs(moments: Moments, length: int, dim: int) -> Moments:
    """Return the joint moments of each `length` parts that follow each other along `dim`.

    Runs are joined of halves. E[x y] - E[x] E[y] would be fewer words, but is what rounding leaves
    where a window is almost flat, while here variances are sums of squares: of equal pixels
    exactly 0, of any others not.
    """
    if length == 1:
        return moments
    half = length // 2
    runs = _moments_of_runs(moments, half, dim)
    doubled = _joined(runs, runs, half, half, dim)
    return doubled if length % 2 == 0 else _joined(doubled, moments, 2 * half, 1, dim)


def _joined(a: Moments, b: Moments, length_a: int, length_b: int, dim: int) -> Moments:
    """Return the moments of runs of `a`, each followed by a run of `b`.

    mean = E[means], covariance = E[covariances] + covariance of the means.
    """
    positions = b.mean_x.shape[dim] - length_a
    first = Moments(*(each.narrow(dim, 0, positions) for each in a))
    second = Moments(*(each.narrow(dim, length_a, positions) for each in b))
    share_a, share_b = length_a / (length_a + length_b), length_b / (length_a + length_b)
    step_x, step_y = second.mean_x - first.mean_x, second.mean_y - first.mean_y
    between = share_a * share_b
    return Moments(
        first.mean_x + share_b * step_x,
        first.mean_y + share_b * step_y,
        share_a * first.variance_x + share_b * second.variance_x + between * (step_x * step_x),
        share_a * first.variance_y + share_b * second.variance_y + between * (step_y * step_y),
        share_a * first.covariance + share_b * second.covariance + between * (step_x * step_y),
    )
