"""The density: its check, and the way from the coefficients to the density kernel Phi and back."""

# Shape letters: N coefficients of the density, K kernel size = 2N + 1.

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from torch import Tensor

from wconv_kernels.errors import DensityError

DensityLike = float | Sequence[float] | Tensor
"""Coefficients, outermost first; one number is the density of a kernel of size 3."""

Densities = DensityLike | Mapping[int, DensityLike]
"""One density, or one per kernel size: `{3: (0.8,), 5: (0.6, 0.9)}`."""


def density_values(density: DensityLike, kernel_size: int | None = None) -> tuple[float, ...]:
    """Return the coefficients as a tuple of floats, outermost first.

    Zero and values above 1 are legal, and so are negative ones.

    Args:
        density: a sequence or a tensor of shape (n,), or one number for n = 1; dimensionless.
        kernel_size: where given, the size k that the density must fit, k = 2n + 1.

    Raises:
        DensityError: a wrong type, no coefficient, NaN or infinity, or a length that does not
            fit `kernel_size`.
    """
    if isinstance(density, Tensor):
        if density.dim() > 1:
            raise DensityError(
                f"a density has shape (n,), but got a tensor of shape {tuple(density.shape)}; "
                "density_from_kernel turns a density kernel into a density"
            )
        items: Sequence[object] = density.detach().reshape(-1).tolist()
    elif isinstance(density, Sequence) and not isinstance(density, str | bytes):
        items = density
    else:
        items = (density,)
    values = tuple(_coefficient(item, density) for item in items)
    if not values:
        raise DensityError(
            "a density needs at least one coefficient (a kernel of size 1 has none to scale)"
        )
    if kernel_size is not None:
        check_length(len(values), kernel_size)
    return values


def densities_by_size(densities: Densities) -> dict[int, tuple[float, ...]]:
    """Return the coefficients per kernel size; one density alone names its size by its length.

    Raises:
        DensityError: as `density_values`, or an empty mapping, or a size that is not an odd
            number above 1.
    """
    if not isinstance(densities, Mapping):
        values = density_values(densities)
        return {2 * len(values) + 1: values}
    if not densities:
        raise DensityError("the mapping from kernel size to density is empty")
    return {size: density_values(density, size) for size, density in densities.items()}


def density_kernel(density: DensityLike, ndim: int) -> Tensor:
    """Return the density kernel Phi, which scales each weight by its distance from the center.

    alpha = (d_1, ..., d_n, 1, d_n, ..., d_1);  Phi = outer product of `ndim` copies of alpha
    (Cammarasana and Patane 2025, arXiv:2505.24558).

    Args:
        density: coefficients d_1..d_n, outermost first, shape (n,), or one number for n = 1;
            dimensionless. The result is differentiable with respect to a tensor.
        ndim: number of spatial dimensions: 1, 2 or 3.

    Returns:
        Phi, shape (k,) * ndim with k = 2n + 1; dtype and device of a floating-point tensor,
        else torch's defaults.

    Raises:
        DensityError: as `density_values`, or `ndim` is not 1, 2 or 3.
    """
    if ndim not in (1, 2, 3):
        raise DensityError(f"a density kernel has 1, 2 or 3 dimensions, but got ndim={ndim}")
    values = density_values(density)
    if isinstance(density, Tensor) and density.is_floating_point():
        return outer_kernel(density.reshape(-1), ndim)
    return outer_kernel(torch.tensor(values, dtype=torch.get_default_dtype()), ndim)


def density_from_kernel(phi: Tensor) -> Tensor:
    """Return the density, shape (n,), of a density kernel: the inverse of `density_kernel`.

    Raises:
        DensityError: `phi` is not square, odd, above 1 in size, finite, 1 at its center and the
            outer product of one symmetric profile.
    """
    if not isinstance(phi, Tensor) or not phi.is_floating_point():
        raise DensityError("a density kernel is a floating-point tensor")
    check_square_odd(tuple(phi.shape))
    if not bool(phi.isfinite().all()):
        raise DensityError("the density kernel holds NaN or infinity")
    center = phi.shape[0] // 2
    profile_K = phi[(slice(None),) + (center,) * (phi.dim() - 1)]
    density_N = profile_K[:center].clone()
    # Phi may come from a file in which its products were rounded once more: allow a few ulps.
    tolerance = 8 * torch.finfo(phi.dtype).eps
    if not torch.allclose(outer_kernel(density_N, phi.dim()), phi, tolerance, tolerance):
        raise DensityError(
            "the tensor is not a density kernel: it must be 1 at its center and the outer "
            "product of one symmetric profile"
        )
    return density_N


def outer_kernel(density_N: Tensor, ndim: int) -> Tensor:
    """Return Phi of a floating-point tensor without looking at its values.

    The products are taken in the dtype of `density_N`, everywhere in this package, so that every
    way to the operator rounds Phi alike: a product taken in float32 and then cast to float64 is
    off by 1e-8.
    """
    alpha_K = torch.cat([density_N, density_N.new_ones(1), density_N.flip(0)])
    phi = alpha_K
    for _ in range(ndim - 1):
        phi = phi.unsqueeze(-1) * alpha_K
    return phi


def check_square_odd(kernel_size: Sequence[int]) -> int:
    """Return the one size of a square, odd kernel above 1; raise DensityError for any other."""
    sizes = tuple(kernel_size)
    if len(sizes) not in (1, 2, 3) or len(set(sizes)) != 1:
        raise DensityError(f"a density needs a square kernel, but got kernel_size={sizes}")
    _check_odd(sizes[0])
    return sizes[0]


def check_length(length: int, kernel_size: int) -> None:
    """Raise DensityError unless a density of `length` coefficients fits `kernel_size`."""
    _check_odd(kernel_size)
    if 2 * length + 1 != kernel_size:
        raise DensityError(
            f"kernel_size {kernel_size} takes {kernel_size // 2} coefficient(s) (one per ring, "
            f"outermost first), but the density has {length}"
        )


def _check_odd(size: int) -> None:
    if not isinstance(size, int) or size < 3 or size % 2 == 0:
        raise DensityError(
            f"a density needs an odd kernel size above 1, so that there is a center, but got "
            f"{size!r}"
        )


def _coefficient(item: object, density: object) -> float:
    if isinstance(item, bool) or not isinstance(item, Real):
        raise DensityError(
            "a density is a number, or a sequence or tensor of numbers, outermost first, but got "
            f"{density!r}"
        )
    value = float(item)
    if not math.isfinite(value):
        raise DensityError(f"a density must be finite, but got {density!r}")
    return value
