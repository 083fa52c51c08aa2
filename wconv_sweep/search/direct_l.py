"""DIRECT-L, the locally biased division of rectangles, as a sequence of points to evaluate.

Gablonsky and Kelley, A locally-biased form of the DIRECT algorithm, Journal of Global Optimization
21 (2001). The unit cube is divided into rectangles with a value at each center. One iteration
takes, of the rectangles with the same longest side d, the one with the lowest value f, and of
these each one for which some K > 0 makes

    f_j - K d_j <= f_i - K d_i  for all i,    f_j - K d_j <= f_min - EPSILON |f_min|.

These are potentially optimal: they hold the best point if the function rises by K per length. Each
is divided into three along all of its longest sides, the side with the lower values first, and has
two new centers on each of them. All centers of one iteration are known before any of them is
evaluated, so that they can be evaluated at the same time.

Nothing is remembered between two questions: the division follows from the values, so that everyone
who knows the same values asks for the same points.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

Point = tuple[float, ...]
"""A center in the unit cube."""

EPSILON = 1e-4
"""Least gain over the best value, relative to it, that a rectangle must promise; the authors'."""
FINEST_LEVEL = 12
"""Rectangles whose longest side is 3^-12 = 2e-6 are not divided any more."""


@dataclass(frozen=True)
class Known:
    """A center that is evaluated, or about to be."""

    value: float | None
    """To be minimized; None while it is being evaluated, NaN where the evaluation failed."""


def wanted_points(dimensions: int, lookup: Callable[[Point], Known | None]) -> Iterator[Point]:
    """Yield the centers that no trial has taken yet, in the order in which they are needed.

    The first ones are those of the first iteration that is not complete. When all of these are
    being evaluated, further ones are a guess: the division continues as if each center without a
    value had that of the rectangle that it divides. A guess costs nothing where it is right, and
    is one more value where it is not. A failed evaluation counts as the worst value of all.

    Args:
        dimensions: of the cube.
        lookup: what is known of a center; None where it was never asked for.
    """
    tree = _Tree(dimensions)
    batch = [_Division(None, [])]
    while batch:
        for division in batch:
            for point in division.points(dimensions):
                known = lookup(point)
                if known is None:
                    yield point
                if known is None or known.value is None:
                    tree.values[point] = division.stand_in
                else:
                    tree.values[point] = known.value
        for division in batch:
            tree.divide(division)
        batch = tree.next_batch()


@dataclass(frozen=True)
class _Rectangle:
    places: tuple[int, ...]
    """Along each axis the center is (2 place + 1) / (2 * 3^level): whole numbers, so that a center
    is the same number however it was reached."""
    levels: tuple[int, ...]
    """Each side is 3^-level."""

    @property
    def level(self) -> int:
        return min(self.levels)

    @property
    def center(self) -> Point:
        return tuple(
            (2 * place + 1) / (2 * 3**level)
            for place, level in zip(self.places, self.levels, strict=True)
        )

    def third(self, axis: int, which: int) -> "_Rectangle":
        """Return the lower (0), middle (1) or upper (2) third along an axis."""
        places, levels = list(self.places), list(self.levels)
        places[axis], levels[axis] = 3 * places[axis] + which, levels[axis] + 1
        return _Rectangle(tuple(places), tuple(levels))


@dataclass(frozen=True)
class _Division:
    """A rectangle to be divided along its longest sides; None is the evaluation of the cube."""

    rectangle: _Rectangle | None
    axes: list[int]
    stand_in: float = math.nan
    """Value of the rectangle, for centers that have none yet."""

    def points(self, dimensions: int) -> list[Point]:
        if self.rectangle is None:
            return [(0.5,) * dimensions]
        thirds = product(self.axes, (2, 0))
        return [self.rectangle.third(axis, which).center for axis, which in thirds]


class _Tree:
    def __init__(self, dimensions: int) -> None:
        self.values: dict[Point, float] = {}
        self._dimensions = dimensions
        self._waiting: dict[int, list[tuple[bool, float, int, _Rectangle]]] = {}
        self._inserted = 0

    def divide(self, division: _Division) -> None:
        """Put the parts of a rectangle in its place; the values of their centers are there."""
        whole = division.rectangle
        if whole is None:
            self._insert(_Rectangle((0,) * self._dimensions, (0,) * self._dimensions))
            return
        ends = {
            axis: [self._key(whole.third(axis, which).center) for which in (2, 0)]
            for axis in division.axes
        }
        parts = {}
        # The side with the lowest value is divided first, and leaves its thirds the largest.
        for axis in sorted(division.axes, key=lambda axis: min(ends[axis])):
            parts[axis] = [whole.third(axis, 2), whole.third(axis, 0)]
            whole = whole.third(axis, 1)
        for axis in division.axes:
            for part in sorted(parts[axis], key=lambda part: self._key(part.center)):
                self._insert(part)
        self._insert(whole)

    def next_batch(self) -> list[_Division]:
        """Return the potentially optimal rectangles, the largest first, and take them out."""
        finite = [value for value in self.values.values() if not math.isnan(value)]
        lowest, worst = min(finite, default=0.0), max(finite, default=0.0)
        levels = sorted(level for level, heap in self._waiting.items() if heap)
        best = {level: self._waiting[level][0] for level in levels}
        value_of = {level: worst if entry[0] else entry[1] for level, entry in best.items()}
        chosen = potentially_optimal(value_of, lowest - EPSILON * abs(lowest))
        batch = []
        for level in chosen:
            rectangle = heapq.heappop(self._waiting[level])[-1]
            axes = [axis for axis, each in enumerate(rectangle.levels) if each == level]
            batch.append(_Division(rectangle, axes, self.values[rectangle.center]))
        return batch

    def _insert(self, rectangle: _Rectangle) -> None:
        self._inserted += 1
        if rectangle.level < FINEST_LEVEL:
            entry = (*self._key(rectangle.center), self._inserted, rectangle)
            heapq.heappush(self._waiting.setdefault(rectangle.level, []), entry)

    def _key(self, center: Point) -> tuple[bool, float]:
        """Return what orders rectangles: those whose evaluation failed come last."""
        value = self.values[center]
        return (True, 0.0) if math.isnan(value) else (False, value)


def potentially_optimal(value_of: Mapping[int, float], target: float) -> list[int]:
    """Return the levels whose lowest rectangle is potentially optimal, the largest first.

    As in the authors' program, the smallest are judged first, and one that is left out, also for
    too small a gain, does not compete with larger ones.

    Args:
        value_of: the lowest value of each level, of rectangles with longest side 3^-level.
        target: f_min - EPSILON |f_min|, which a rectangle must be able to reach.
    """
    left = sorted(value_of)
    for level in reversed(left.copy()):
        side, value = 3.0**-level, value_of[level]
        slope_least, slope_most = 0.0, math.inf
        for other in left:
            rise = value_of[other] - value
            if other < level:
                slope_most = min(slope_most, rise / (3.0**-other - side))
            elif other > level:
                slope_least = max(slope_least, -rise / (side - 3.0**-other))
        gains = slope_most == math.inf or value - slope_most * side <= target
        if slope_most <= 0.0 or slope_least > slope_most or not gains:
            left.remove(level)
    return left
