"""The equation of the weighted convolution as plain sums: slow, to read and to test against."""

# Shape letters: B batch, C input channels of one group, O output channels, N coefficients,
# K kernel size = 2N + 1. Spatial axes are written ..., since there are one, two or three.

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from wconv_kernels.density import DensityLike, density_values


def weighted_conv(
    input: Tensor,
    weight: Tensor,
    density: DensityLike,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Return the weighted convolution, term by term.

    y[b, o, q] = bias[o] + sum_c sum_t W[o, c, t] * alpha[t_1] * ... * alpha[t_ndim]
                 * x[b, c, stride * q + dilation * t - padding]

    with q and t running over all spatial axes, and x continued beyond its border by
    `padding_mode` (Cammarasana and Patane 2025, arXiv:2505.24558).

    Args:
        input: shape (B, C * groups, ...), one to three spatial axes.
        weight: W, shape (O, C, K, ...).
        density: coefficients, outermost first, n of them for K = 2n + 1.
        bias: shape (O,).
        stride, padding, dilation: the same along every spatial axis.
        padding_mode: zeros, reflect, replicate or circular.

    Returns:
        y, shape (B, O, ...).

    Raises:
        DensityError: the density does not fit the kernel.
    """
    kernel_size = weight.shape[2]
    ndim = weight.dim() - 2
    coefficients = density_values(density, kernel_size)
    alpha = (*coefficients, 1.0, *reversed(coefficients))
    padded = input
    for axis in range(2, input.dim()):
        padded = _continue_beyond_border(padded, axis, padding, padding_mode)
    reach = dilation * (kernel_size - 1)
    out_sizes = [(size - reach - 1) // stride + 1 for size in padded.shape[2:]]

    group_outputs = []
    inputs_per_group = padded.chunk(groups, dim=1)
    weights_per_group = weight.chunk(groups, dim=0)
    for input_BC, weight_OC in zip(inputs_per_group, weights_per_group, strict=True):
        total = input.new_zeros(len(input), len(weight_OC), *out_sizes)
        for taps in itertools.product(range(kernel_size), repeat=ndim):
            phi = 1.0
            for tap in taps:
                phi *= alpha[tap]
            seen_BC = input_BC[_window(taps, out_sizes, stride, dilation)]
            tap_OC = weight_OC[_at(taps)]
            total = total + phi * torch.einsum("oc,bc...->bo...", tap_OC, seen_BC)
        group_outputs.append(total)
    output = torch.cat(group_outputs, dim=1)
    return output if bias is None else output + bias.reshape(1, -1, *(1,) * ndim)


def _at(taps: Sequence[int]) -> tuple[slice | int, ...]:
    """One tap of all filters."""
    return (slice(None), slice(None), *taps)


def _window(
    taps: Sequence[int], out_sizes: Sequence[int], stride: int, dilation: int
) -> tuple[slice, ...]:
    """The input samples that one tap meets, over all output positions."""
    spatial = [
        slice(dilation * tap, dilation * tap + stride * (size - 1) + 1, stride)
        for tap, size in zip(taps, out_sizes, strict=True)
    ]
    return (slice(None), slice(None), *spatial)


def _continue_beyond_border(input: Tensor, axis: int, padding: int, mode: str) -> Tensor:
    """The signal at the positions -padding .. size - 1 + padding of one axis."""
    size = input.shape[axis]
    position = torch.arange(-padding, size + padding)
    match mode:
        case "zeros":
            inside = (position >= 0) & (position < size)
            shape = [-1 if other == axis else 1 for other in range(input.dim())]
            nearest = input.index_select(axis, position.clamp(0, size - 1))
            return nearest * inside.reshape(shape)
        case "replicate":
            source = position.clamp(0, size - 1)
        case "circular":
            source = position % size
        case "reflect":
            source = (size - 1) - ((size - 1) - position.abs()).abs()
        case _:
            raise ValueError(
                f"padding_mode is zeros, reflect, replicate or circular, but got {mode!r}"
            )
    return input.index_select(axis, source)
