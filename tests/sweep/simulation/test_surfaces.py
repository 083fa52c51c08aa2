"""The synthetic responses are what their formulas say, with one optimum each."""

import itertools
import math

import pytest

from wconv_sweep.simulation.surfaces import SHAPES, Surface, surface


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_optimum_is_the_only_best_point(shape: str, dimensions: int) -> None:
    response = surface(shape, dimensions, seed=7)
    grid = itertools.product([step / 20 for step in range(21)], repeat=dimensions)

    assert response(response.optimum) == pytest.approx(0.0, abs=1e-6)
    assert all(0.15 <= each <= 0.85 for each in response.optimum)
    assert all(response(point) < 1e-6 for point in grid)
    assert response([each + 0.01 for each in response.optimum]) < -1e-5


@pytest.mark.parametrize(
    ("shape", "point", "expected"),
    [
        ("bowl", (0.8, 0.3), -3.0),  # 12 * 0.5^2
        ("bowl", (0.3, 0.8), -0.75),  # a quarter of that
        ("hill", (0.45, 0.3), 3 * math.exp(-0.5) - 3),  # one width away
        ("hill", (1.0, 1.0), -3.0),
        ("plateau", (0.5, 0.3), -0.04),
        ("plateau", (0.7, 0.3), -3.16),  # half-way down the cliff: 0.4^2 + 6 / 2
        ("plateau", (1.0, 0.3), -6.49),
        ("two_hills", (0.8, 0.8), -0.6),  # the other hill
        ("two_hills", (0.3, 0.3), 0.0),
    ],
)
def test_a_surface_has_the_value_of_its_formula(
    shape: str, point: tuple[float, float], expected: float
) -> None:
    assert Surface(shape, (0.3, 0.3))(point) == pytest.approx(expected, abs=2e-3)


def test_another_seed_moves_the_optimum_and_the_same_does_not() -> None:
    assert surface("hill", 2, seed=1) == surface("hill", 2, seed=1)
    assert surface("hill", 2, seed=1) != surface("hill", 2, seed=2)
