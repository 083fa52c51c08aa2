"""The density, its check, and the density kernel."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wconv_kernels import (
    DensityError,
    densities_by_size,
    density_from_kernel,
    density_kernel,
    density_values,
)

COEFFICIENTS = st.floats(-4, 4, allow_nan=False).map(lambda value: round(value, 3))


def test_a_3x3_kernel_has_the_density_on_the_edges_and_its_square_in_the_corners() -> None:
    phi = density_kernel(0.5, 2)

    assert phi.tolist() == [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]


def test_a_5x5_kernel_lists_its_density_from_the_outermost_ring_inwards() -> None:
    phi = density_kernel((0.25, 0.5), 2)

    assert phi[2].tolist() == [0.25, 0.5, 1.0, 0.5, 0.25]
    assert phi[0].tolist() == [0.0625, 0.125, 0.25, 0.125, 0.0625]
    assert torch.equal(phi, phi.T)


def test_one_and_three_dimensions_take_one_factor_per_dimension() -> None:
    line = density_kernel((2.0,), 1)
    cube = density_kernel((2.0,), 3)

    assert line.tolist() == [2.0, 1.0, 2.0]
    assert cube[0].tolist() == [[8.0, 4.0, 8.0], [4.0, 2.0, 4.0], [8.0, 4.0, 8.0]]
    assert cube[1].tolist() == [[4.0, 2.0, 4.0], [2.0, 1.0, 2.0], [4.0, 2.0, 4.0]]


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(COEFFICIENTS, min_size=1, max_size=5), st.integers(1, 3))
def test_every_density_comes_back_from_its_kernel(coefficients: list[float], ndim: int) -> None:
    density = torch.tensor(coefficients, dtype=torch.float64)

    phi = density_kernel(density, ndim)

    assert phi.shape == (2 * len(coefficients) + 1,) * ndim
    assert torch.equal(density_from_kernel(phi), density)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(COEFFICIENTS, min_size=1, max_size=5), st.integers(1, 3))
def test_every_kernel_is_symmetric_under_reversal_and_exchange_of_its_axes(
    coefficients: list[float], ndim: int
) -> None:
    phi = density_kernel(torch.tensor(coefficients, dtype=torch.float64), ndim)

    for axis in range(ndim):
        assert torch.equal(phi.flip(axis), phi)
        torch.testing.assert_close(phi.transpose(0, axis), phi, rtol=1e-15, atol=0)


def test_kernel_keeps_the_dtype_of_a_tensor_and_takes_the_default_for_numbers() -> None:
    assert density_kernel(torch.tensor([0.7], dtype=torch.float64), 2).dtype == torch.float64
    assert density_kernel(torch.tensor([2]), 2).dtype == torch.get_default_dtype()
    assert density_kernel((0.7,), 2).dtype == torch.get_default_dtype()


def test_kernel_is_differentiable_with_respect_to_the_density() -> None:
    density = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)

    for ndim in (1, 2, 3):
        assert torch.autograd.gradcheck(lambda d, n=ndim: density_kernel(d, n), (density,))


def test_zero_negative_and_large_values_are_legal() -> None:
    assert density_values([0, -0.5, 3]) == (0.0, -0.5, 3.0)


def test_one_number_is_a_density_of_one_coefficient() -> None:
    assert density_values(0.7) == (0.7,)
    assert density_values(torch.tensor(0.5)) == (0.5,)


def test_a_density_alone_names_its_kernel_size_and_a_mapping_serves_several() -> None:
    assert densities_by_size((0.2, 0.8)) == {5: (0.2, 0.8)}
    assert densities_by_size({3: 0.8, 5: (0.6, 0.9)}) == {3: (0.8,), 5: (0.6, 0.9)}


@pytest.mark.parametrize(
    ("density", "kernel_size", "message"),
    [
        ((), None, "at least one coefficient"),
        ((math.nan,), None, r"must be finite, but got \(nan,\)"),
        (torch.tensor([0.5, math.inf]), None, "must be finite"),
        ("0.7", None, "is a number, or a sequence or tensor of numbers"),
        (None, None, "is a number, or a sequence or tensor of numbers"),
        ((True,), None, "is a number, or a sequence or tensor of numbers"),
        (("a", 1.0), None, "is a number, or a sequence or tensor of numbers"),
        ({3: 0.5}, None, "is a number, or a sequence or tensor of numbers"),
        (torch.ones(3, 3), None, r"a tensor of shape \(3, 3\)"),
        (0.7, 5, r"kernel_size 5 takes 2 coefficient\(s\) .* but the density has 1"),
        ((0.7, 0.8), 3, r"kernel_size 3 takes 1 coefficient\(s\) .* but the density has 2"),
        ((0.7,), 4, "needs an odd kernel size above 1, .* but got 4"),
        ((0.7,), 1, "needs an odd kernel size above 1, .* but got 1"),
    ],
)
def test_a_wrong_density_is_refused_with_its_reason(
    density: object, kernel_size: int | None, message: str
) -> None:
    with pytest.raises(DensityError, match=message) as caught:
        density_values(density, kernel_size)  # type: ignore[arg-type]  # wrong on purpose

    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("densities", "message"),
    [
        ({}, "mapping from kernel size to density is empty"),
        ({4: 0.5}, "odd kernel size above 1, .* but got 4"),
        ({"3": 0.5}, "odd kernel size above 1, .* but got '3'"),
        ({5: 0.5}, "kernel_size 5 takes 2"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_reason(
    densities: dict[int, float], message: str
) -> None:
    with pytest.raises(DensityError, match=message):
        densities_by_size(densities)


def test_a_kernel_has_at_most_three_dimensions() -> None:
    with pytest.raises(DensityError, match="1, 2 or 3 dimensions, but got ndim=4"):
        density_kernel(0.5, 4)


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        (torch.ones(3, 5), r"square kernel, but got kernel_size=\(3, 5\)"),
        (torch.ones(2, 2), "odd kernel size above 1, .* but got 2"),
        (torch.ones(1), "odd kernel size above 1, .* but got 1"),
        (torch.tensor([0.5, math.nan, 0.5]), "holds NaN or infinity"),
        (torch.tensor([0.5, 2.0, 0.5]), "must be 1 at its center"),
        (torch.tensor([0.5, 1.0, 0.6]), "outer product of one symmetric profile"),
        (torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]]), "outer product"),
        (torch.ones(3, dtype=torch.int64), "floating-point tensor"),
    ],
)
def test_what_is_no_density_kernel_gives_no_density(phi: torch.Tensor, message: str) -> None:
    with pytest.raises(DensityError, match=message):
        density_from_kernel(phi)
