"""Feature similarity of images by phase congruency and gradient: FSIM and FSIMc.

Source: L. Zhang, L. Zhang, Mou and D. Zhang 2011, "FSIM: A Feature Similarity Index for Image
Quality Assessment", doi:10.1109/TIP.2011.2109730, with the constants of the authors' program
FeatureSIM; phase congruency as in Kovesi's phasecong2, which it calls.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from wconv_jobs.errors import JobError
from wconv_jobs.metrics._images import float64_pieces, require_images, require_size

# Shape letters: B batch, C channels (red, green, blue or gray), Q channels (luminance Y, or
# Y, I, Q), S scales, O orientations, H height, W width.


def feature_similarity(
    metric: str, output_BCHW: Tensor, target_BCHW: Tensor, *, chromatic: bool
) -> Tensor:
    """Return FSIM, or FSIMc when `chromatic`, of each image, shape (B,).

    FSIM = sum(S_PC S_G PCm) / sum(PCm) over the pixels, PCm = max(PC_output, PC_target), and
    S_PC, S_G are similarities (2 a b + T) / (a^2 + b^2 + T) of phase congruency and of gradient
    magnitude. FSIMc has the further factor Re((S_I S_Q)^0.03). Where no pixel of either image has
    phase congruency, e.g. for images of one color value, all pixels weigh the same.

    Args:
        metric: name for messages.
        output_BCHW: images whose values 0..1 go from black to white; values outside are taken as
            they are.
        target_BCHW: images of the same shape.
        chromatic: compare the chrominance, too.

    Raises:
        JobError: the shapes differ, an image has a side of 1 pixel, which has no frequencies, or
            the channels are neither red, green, blue nor gray, for FSIMc the former.
    """
    require_images(output_BCHW, target_BCHW)
    require_size(metric, target_BCHW, 2)
    channels = target_BCHW.shape[1]
    if channels not in ((3,) if chromatic else (1, 3)):
        kinds = "red, green and blue" if chromatic else "gray, or red, green and blue"
        raise JobError(
            f"{metric} is defined only for images that are {kinds}, but these have {channels} "
            f"channel{'s' * (channels != 1)}. Leave out {metric}."
        )
    pieces = float64_pieces(output_BCHW, target_BCHW)
    return torch.cat([_similarity(output, target, chromatic) for output, target in pieces])


# Rows of the YIQ color space, as in the authors' program.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_T_CONGRUENCY = 0.85
_T_GRADIENT = 160
_T_CHROMINANCE = 200
_CHROMINANCE_EXPONENT = 0.03

_SCALES = 4
_ORIENTATIONS = 4
_SHORTEST_WAVELENGTH_PX = 6
_WAVELENGTH_RATIO = 2
_BANDWIDTH = 0.55
"""Standard deviation of a filter over its center frequency, on the logarithmic axis."""
_ANGULAR_DEVIATION = math.pi / _ORIENTATIONS / 1.2
_LOW_PASS_CUTOFF = 0.45
"""Cycles per pixel. Without it, filters would reach the corners of the frequency plane."""
_LOW_PASS_ORDER = 15
_NOISE_DEVIATIONS = 2.0
_NOISE_OVERESTIMATE = 1.7
"""Found by trial for this measure, says Kovesi: the estimate is made for a related one."""
_EPSILON = 1e-4


def _similarity(output_BCHW: Tensor, target_BCHW: Tensor, chromatic: bool) -> Tensor:
    output_BQHW = _reduced(_colors(output_BCHW, chromatic))
    target_BQHW = _reduced(_colors(target_BCHW, chromatic))
    output_BHW, target_BHW = output_BQHW[:, 0], target_BQHW[:, 0]
    congruency_BHW, wanted_BHW = _phase_congruency(torch.cat([output_BHW, target_BHW])).chunk(2)
    similarity_BHW = _alike(congruency_BHW, wanted_BHW, _T_CONGRUENCY)
    similarity_BHW *= _alike(_gradient(output_BHW), _gradient(target_BHW), _T_GRADIENT)
    if chromatic:
        in_phase_BHW, quadrature_BHW = _alike(
            output_BQHW[:, 1:], target_BQHW[:, 1:], _T_CHROMINANCE
        ).unbind(dim=1)
        similarity_BHW *= _real_power(in_phase_BHW * quadrature_BHW, _CHROMINANCE_EXPONENT)
    weight_BHW = torch.maximum(congruency_BHW, wanted_BHW)
    total_B11 = weight_BHW.sum(dim=(1, 2), keepdim=True)
    weight_BHW = torch.where(total_B11 == 0, 1, weight_BHW)
    return (similarity_BHW * weight_BHW).sum(dim=(1, 2)) / weight_BHW.sum(dim=(1, 2))


def _alike(a: Tensor, b: Tensor, constant: float) -> Tensor:
    return (2 * a * b + constant) / (a.square() + b.square() + constant)


def _real_power(base: Tensor, exponent: float) -> Tensor:
    """Return the real part of base^exponent; a negative base has the angle pi."""
    power = base.abs().pow(exponent)
    return torch.where(base < 0, math.cos(math.pi * exponent) * power, power)


def _colors(image_BCHW: Tensor, chromatic: bool) -> Tensor:
    # The constants are made for values from 0 to 255.
    if image_BCHW.shape[1] == 1:
        return 255 * image_BCHW
    weights_QC = image_BCHW.new_tensor(_YIQ if chromatic else _YIQ[:1])
    return torch.einsum("qc,bchw->bqhw", 255 * weights_QC, image_BCHW)


def _reduced(image_BQHW: Tensor) -> Tensor:
    """Return the means of F x F pixels around every F-th pixel, F = min(H, W) / 256, rounded.

    Halves are rounded up. Beyond the image are zeros. For even F, the pixel is the one above and
    left of the window's center, as in MATLAB's conv2(..., 'same').
    """
    height, width = image_BQHW.shape[-2:]
    factor = max(1, math.floor(min(height, width) / 256 + 0.5))
    before, after = (factor - 1) // 2, factor // 2
    padded_BQHW = functional.pad(image_BQHW, (before, after, before, after))
    return functional.avg_pool2d(padded_BQHW, factor)


def _gradient(luminance_BHW: Tensor) -> Tensor:
    """Return the magnitude of the gradient by Scharr's filter; beyond the image are zeros."""
    padded_BHW = functional.pad(luminance_BHW, (1, 1, 1, 1))
    across_BHW = padded_BHW[:, :, :-2] - padded_BHW[:, :, 2:]
    down_BHW = padded_BHW[:, :-2] - padded_BHW[:, 2:]
    across_BHW = 3 * (across_BHW[:, :-2] + across_BHW[:, 2:]) + 10 * across_BHW[:, 1:-1]
    down_BHW = 3 * (down_BHW[:, :, :-2] + down_BHW[:, :, 2:]) + 10 * down_BHW[:, :, 1:-1]
    return (across_BHW.square() + down_BHW.square()).sqrt() / 16


def _phase_congruency(luminance_BHW: Tensor) -> Tensor:
    """Return phase congruency = sum(energy above noise) / sum(amplitude), from 0 to 1.

    The sums are over orientations and scales. Responses z_s of a pixel at one orientation, with
    mean direction m = sum(z_s) / (|sum(z_s)| + 1e-4), have the energy
    sum over s of (Re(z_s m*) - |Im(z_s m*)|), which is the amplitude where all phases agree.
    """
    height, width = luminance_BHW.shape[1:]
    filters = _filters(height, width, luminance_BHW.device)
    spectrum_BHW = torch.fft.fft2(luminance_BHW)
    energy_BHW = torch.zeros_like(luminance_BHW)
    amplitude_BHW = torch.zeros_like(luminance_BHW)
    for angular_HW, noise_gain in zip(filters.angular_OHW, filters.noise_gain_O, strict=True):
        filters_SHW = filters.radial_SHW * angular_HW
        response_BSHW = torch.fft.ifft2(spectrum_BHW[:, None] * filters_SHW)
        amplitude_BSHW = response_BSHW.abs()
        # Squared amplitudes of noise are distributed exponentially: median = mean * log(2).
        # Edges cover few pixels at the smallest scale, so they hardly move a median.
        noise_power_B = _median(amplitude_BSHW[:, 0].square().flatten(1)) / math.log(2)
        threshold_B = (noise_power_B * noise_gain).sqrt() * _NOISE_THRESHOLD
        sum_BHW = response_BSHW.sum(dim=1)
        direction_BHW = sum_BHW / (sum_BHW.abs() + _EPSILON)
        aligned_BSHW = response_BSHW * direction_BHW.conj()[:, None]
        aligned_BHW = (aligned_BSHW.real - aligned_BSHW.imag.abs()).sum(dim=1)
        energy_BHW += (aligned_BHW - threshold_B[:, None, None]).clamp(min=0)
        amplitude_BHW += amplitude_BSHW.sum(dim=1)
    # Without the distinction, 0 / 0 of a black image would be NaN.
    return torch.where(amplitude_BHW == 0, amplitude_BHW, energy_BHW / amplitude_BHW)


# The noise's energy is distributed as Rayleigh's: with its parameter tau, the mean is
# tau sqrt(pi / 2) and the standard deviation tau sqrt(2 - pi / 2).
_NOISE_THRESHOLD = (
    math.sqrt(math.pi / 2) + _NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)
) / _NOISE_OVERESTIMATE


def _median(values_BN: Tensor) -> Tensor:
    """Return the median of each row, for an even count the mean of the two middle values."""
    count = values_BN.shape[1]
    # Not torch.median: it takes the lower of the two, and on a GPU has no deterministic form.
    sorted_BN = values_BN.sort(dim=1).values
    return (sorted_BN[:, (count - 1) // 2] + sorted_BN[:, count // 2]) / 2


@dataclass(frozen=True)
class _Filters:
    """Log-Gabor filters radial * angular in the frequency plane, zero frequency in the corner."""

    radial_SHW: Tensor
    angular_OHW: Tensor
    noise_gain_O: Tensor
    """Squared Rayleigh parameter of the energy of noise, per squared amplitude of this noise at
    the smallest scale."""


# 8 maps per size: for 1400 x 2040, reduced to 280 x 408, 7 MB. A data set has few sizes in turn.
@lru_cache(maxsize=8)
def _filters(height: int, width: int, device: torch.device) -> _Filters:
    down_H1 = _frequencies(height, device)[:, None]
    across_1W = _frequencies(width, device)
    radius_HW = torch.sqrt(across_1W.square() + down_H1.square())
    angle_HW = torch.atan2(-down_H1, across_1W)
    low_pass_HW = 1 / (1 + (radius_HW / _LOW_PASS_CUTOFF) ** (2 * _LOW_PASS_ORDER))
    # The logarithm of frequency zero; the filters are 0 there.
    radius_HW[0, 0] = 1
    radial = []
    for scale in range(_SCALES):
        wavelength_px = _SHORTEST_WAVELENGTH_PX * _WAVELENGTH_RATIO**scale
        distance_HW = torch.log(radius_HW * wavelength_px) / math.log(_BANDWIDTH)
        filter_HW = torch.exp(-0.5 * distance_HW.square()) * low_pass_HW
        filter_HW[0, 0] = 0
        radial.append(filter_HW)
    radial_SHW = torch.stack(radial)
    angular = []
    for orientation in range(_ORIENTATIONS):
        offset_HW = angle_HW - orientation * math.pi / _ORIENTATIONS
        # Into -pi..pi.
        offset_HW = torch.atan2(torch.sin(offset_HW), torch.cos(offset_HW))
        angular.append(torch.exp(-0.5 * (offset_HW / _ANGULAR_DEVIATION).square()))
    angular_OHW = torch.stack(angular)
    # The sums over pixels of squares (factor 2) and products of pairs (factor 4) of the filters'
    # even parts in the image plane, halved, are the sum of the square of their sum.
    even_OHW = torch.fft.ifft2(angular_OHW * radial_SHW.sum(dim=0)).real
    smallest_OHW = angular_OHW * radial_SHW[0]
    noise_gain_O = (
        even_OHW.square().sum(dim=(1, 2)) * height * width / smallest_OHW.square().sum(dim=(1, 2))
    )
    return _Filters(radial_SHW, angular_OHW, noise_gain_O)


def _frequencies(length: int, device: torch.device) -> Tensor:
    """Return `phasecong2`'s frequencies, zero first; for odd lengths, they reach +-1/2."""
    first = -(length // 2)
    steps = torch.arange(first, first + length, dtype=torch.float64, device=device)
    frequencies: Tensor = torch.fft.ifftshift(steps / (length - length % 2))
    return frequencies
