"""The points of a grid over the density's bounds, ordered to cover the range early."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

from wconv_jobs.spec import Density
from wconv_sweep.study.search_config import Bound, GridSpec


def grid_size(grid: GridSpec, bounds: Sequence[Bound]) -> int:
    """Return the number of points, without building them."""
    return math.prod(_axis_sizes(grid, bounds))


def grid_points(grid: GridSpec, bounds: Sequence[Bound]) -> Iterator[Density]:
    """Yield every point once.

    The values of each coefficient are ordered by bit reversal (the van der Corput sequence), from
    both ends to the middle and then between. After m^n points of n coefficients, the first m
    values of each have met all of the others': a grid of its own, which the next ones refine.
    """
    orders = [_bit_reversed(size) for size in _axis_sizes(grid, bounds)]
    ranks = product(*(range(len(order)) for order in orders))
    for point in sorted(ranks, key=lambda point: (max(point), point)):
        yield tuple(
            _value(grid, bounds, axis, orders[axis][rank]) for axis, rank in enumerate(point)
        )


def _axis_sizes(grid: GridSpec, bounds: Sequence[Bound]) -> list[int]:
    if grid.points is not None:
        return grid.points
    assert grid.step is not None
    # The upper bound is a point although 0.1 + 0.1 + 0.1 is above 0.3.
    return [
        math.floor((high - low) / step + 1e-9) + 1
        for (low, high), step in zip(bounds, grid.step, strict=True)
    ]


def _value(grid: GridSpec, bounds: Sequence[Bound], axis: int, index: int) -> float:
    low, high = bounds[axis]
    if grid.points is not None:
        step = (high - low) / (grid.points[axis] - 1)
    else:
        assert grid.step is not None
        step = grid.step[axis]
    # Rounded, so that a point with the digits of a reference density is found to be it.
    return round(low + index * step, 12)


def _bit_reversed(size: int) -> list[int]:
    """Return range(size) ordered by its binary digits read backwards."""
    width = (size - 1).bit_length()
    reversed_ = (int(f"{rank:0{width}b}"[::-1], 2) for rank in range(2**width))
    return [index for index in reversed_ if index < size]
