"""Synthetic responses of a metric to the density, in standard deviations of the seed.

The optimum of real studies is flat and noisy: over the whole range the metric
changes by a few times what another seed changes. Each surface is 0 at its optimum and negative
elsewhere, over the unit cube; where the optimum lies is drawn, so that no grid is favored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Point = Sequence[float]
"""Coefficients as shares of their bounds, 0 to 1."""

SHAPES = ("bowl", "hill", "plateau", "two_hills")


@dataclass(frozen=True)
class Surface:
    """A response with one optimum.

    With r the distance from the optimum:

    bowl: -12 r^2, where the second coefficient counts a quarter and the third a ninth.
    hill: 3 (exp(-r^2 / (2 * 0.15^2)) - 1), flat far away.
    plateau: -r^2, with a cliff of 6 around r = 0.4.
    two_hills: the hill, and one twice as wide that is lower by 0.6, half the range away.
    """

    shape: str
    """One of `SHAPES`."""
    optimum: tuple[float, ...]

    def __call__(self, point: Point) -> float:
        """Return the response at a point; 0 at the optimum, negative elsewhere."""
        if self.shape == "bowl":
            return -12 * sum(
                ((value - best) / axis) ** 2
                for axis, (value, best) in enumerate(
                    zip(point, self.optimum, strict=True), start=1
                )
            )
        r = math.dist(point, self.optimum)
        if self.shape == "hill":
            return _hill(r, 3.0, 0.15) - 3.0
        if self.shape == "plateau":
            return -(r**2) - 6 / (1 + math.exp(-(r - 0.4) / 0.02)) + 6 / (1 + math.exp(20))
        other = [(value + 0.5) % 1.0 for value in self.optimum]
        return max(_hill(r, 3.0, 0.15), _hill(math.dist(point, other), 2.4, 0.3)) - 3.0


def surface(shape: str, dimensions: int, seed: int) -> Surface:
    """Return a surface whose optimum is drawn, off the edges.

    Args:
        shape: one of `SHAPES`.
        dimensions: coefficients.
        seed: of the optimum's place.
    """
    drawn = np.random.default_rng([seed, SHAPES.index(shape), dimensions])
    return Surface(shape, tuple(float(each) for each in drawn.uniform(0.15, 0.85, dimensions)))


def _hill(r: float, height: float, width: float) -> float:
    return height * math.exp(-(r**2) / (2 * width**2))
