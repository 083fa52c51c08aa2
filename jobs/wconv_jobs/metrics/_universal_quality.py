"""The universal image quality index of Wang and Bovik, for windows of any size."""

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Means, variances and covariance of two images x and y in the same windows.

    All are means over the pixels of a window (biased), and have the shape of the windows.
    """

    mean_x: Tensor
    mean_y: Tensor
    variance_x: Tensor
    variance_y: Tensor
    covariance: Tensor


def universal_quality(moments: Moments) -> Tensor:
    """Return Q = 2 sxy / (sx^2 + sy^2) * 2 mx my / (mx^2 + my^2) of each window.

    A factor of 0 / 0, i.e. where both windows are flat, or the means of both are 0, has nothing to
    tell apart, and is 1. So Q is 0 where only one window is flat, and 1 where both are black.

    Source: Wang and Bovik 2002, doi:10.1109/97.995823, eq. (1) and (2).

    Args:
        moments: means mx and my, variances sx^2 and sy^2, which have to be exactly 0 for windows
            of equal pixels, and covariance sxy.

    Returns:
        Q in [-1, 1], up to rounding; exactly 1 for equal windows.
    """
    m = moments
    structure = _quotient(2 * m.covariance, m.variance_x + m.variance_y)
    luminance = _quotient(2 * m.mean_x * m.mean_y, m.mean_x.square() + m.mean_y.square())
    return structure * luminance


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator == 0, 1, numerator / denominator)
