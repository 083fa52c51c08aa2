"""DIRECT-L divides as published, and as SciPy's program does where that is told to."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from scipy.optimize import direct

from wconv_sweep.search import direct_l
from wconv_sweep.search.direct_l import Known, Point, potentially_optimal, wanted_points

Function = Callable[[Sequence[float]], float]


def valley(point: Sequence[float]) -> float:
    """Return a parabola with a curvature of its own along each axis."""
    center = (0.31, 0.73, 0.52)
    return -30 + sum((axis + 1) * (value - center[axis]) ** 2 for axis, value in enumerate(point))


def waves(point: Sequence[float]) -> float:
    """Return a function with many valleys."""
    return sum(math.sin(7 * value + axis) + (value - 0.4) ** 2 for axis, value in enumerate(point))


def noise(point: Sequence[float]) -> float:
    """Return numbers that follow from the point, without any order."""
    seed = [round(value * 1e9) for value in point]
    return float(np.random.default_rng(seed).normal())


def in_series(function: Function, dimensions: int, count: int) -> list[Point]:
    """Return the points that one worker evaluates."""
    known: dict[Point, Known] = {}
    while len(known) < count:
        point = next(wanted_points(dimensions, known.get))
        known[point] = Known(function(point))
    return list(known)


def scipys_iterations(function: Function, dimensions: int) -> list[list[Point]]:
    """Return the points of each of SciPy's iterations, rounded."""
    points: list[Point] = []
    ends: list[int] = []

    def evaluated(point: Sequence[float]) -> float:
        points.append(tuple(round(float(value), 9) for value in point))
        return function(point)

    direct(
        evaluated,
        [(0.0, 1.0)] * dimensions,
        locally_biased=True,
        maxfun=150,
        vol_tol=0,
        len_tol=0,
        callback=lambda _: ends.append(len(points)),
    )
    first = 2 * dimensions + 1
    return [points[start:end] for start, end in itertools.pairwise([0, first, *ends])]


def scipys_choice(value_of: Mapping[int, float], target: float) -> list[int]:
    """Return what SciPy 1.17 divides.

    Its C code was translated from the authors' program. There an `if (logfile)` whose message is
    commented out governs the jump that leaves out what lies above the lower hull, so that SciPy
    divides these rectangles, too.
    """
    left = sorted(value_of)
    for level in reversed(left.copy()):
        side, value = 3.0**-level, value_of[level]
        larger = [
            (value_of[other] - value) / (3.0**-other - side) for other in left if other < level
        ]
        smaller = [
            (value - value_of[other]) / (side - 3.0**-other) for other in left if other > level
        ]
        most, least = min(larger, default=math.inf), max(smaller, default=0.0)
        small_gain = most < math.inf and value - most * side > target
        if most <= 0 or (least <= most and small_gain):
            left.remove(level)
    return left


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("function", [valley, waves, noise])
def test_each_iteration_evaluates_the_points_of_scipys(
    function: Function, dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_l, "potentially_optimal", scipys_choice)
    iterations = scipys_iterations(function, dimensions)

    ours = iter(in_series(function, dimensions, sum(map(len, iterations))))

    assert len(iterations) > 5
    for points in iterations:
        found = [tuple(round(value, 9) for value in next(ours)) for _ in points]
        assert sorted(found) == sorted(points)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_as_published_the_first_iterations_are_scipys_without_any_change(dimensions: int) -> None:
    iterations = scipys_iterations(valley, dimensions)[:6]

    ours = iter(in_series(valley, dimensions, sum(map(len, iterations))))

    for points in iterations:
        found = [tuple(round(value, 9) for value in next(ours)) for _ in points]
        assert sorted(found) == sorted(points)


def test_what_lies_above_the_lower_hull_is_not_divided() -> None:
    # Sides 1, 1/3 and 1/9. From the largest to the smallest the values fall by 8/9 over 8/9: at
    # side 1/3 the hull is at 1/3 - 1/9 = 2/9, so that 0.3 lies above it and 0.2 does not.
    assert potentially_optimal({0: 8 / 9, 1: 0.3, 2: 0.0}, target=0.0) == [0, 2]
    assert potentially_optimal({0: 8 / 9, 1: 0.2, 2: 0.0}, target=0.0) == [0, 1, 2]
    assert scipys_choice({0: 8 / 9, 1: 0.3, 2: 0.0}, target=0.0) == [0, 1, 2]


def test_a_rectangle_that_promises_too_little_is_not_divided() -> None:
    # The smallest could fall to 0 - 1 * 1/9 at the slope of the hull.
    assert potentially_optimal({0: 8 / 9, 2: 0.0}, target=-0.11) == [0, 2]
    assert potentially_optimal({0: 8 / 9, 2: 0.0}, target=-0.12) == [0]


def test_a_smaller_rectangle_without_a_lower_value_is_not_divided() -> None:
    assert potentially_optimal({0: 1.0, 1: 1.0, 3: 2.0}, target=0.9) == [0]


def test_a_line_is_divided_into_thirds() -> None:
    points = in_series(lambda point: point[0], 1, 9)

    # The lowest third, then its lowest third and the middle one of the first division, ...
    assert points == [
        (1 / 2,),
        (5 / 6,),
        (1 / 6,),
        (5 / 18,),
        (1 / 18,),
        (11 / 18,),
        (7 / 18,),
        (5 / 54,),
        (1 / 54,),
    ]


def test_the_side_with_the_lower_value_is_divided_first() -> None:
    known = {point: Known(valley(point)) for point in in_series(valley, 2, 5)}
    assert min(known, key=lambda point: known[point].value or 0.0) == (0.5, 5 / 6)

    # So its thirds keep the other side whole, and the best of them is divided along that.
    assert list(itertools.islice(wanted_points(2, known.get), 2)) == [
        (5 / 6, 5 / 6),
        (1 / 6, 5 / 6),
    ]


def test_a_failed_evaluation_counts_as_the_worst() -> None:
    failing = in_series(lambda point: math.nan if point[0] < 0.2 else point[0], 1, 15)
    worst = in_series(lambda point: 1.0 if point[0] < 0.2 else point[0], 1, 15)

    assert failing == worst
    assert len(set(in_series(lambda _: math.nan, 2, 40))) == 40


def test_workers_get_the_points_of_one_iteration_and_then_guesses() -> None:
    known: dict[Point, Known] = {point: Known(valley(point)) for point in in_series(valley, 2, 15)}
    iteration = scipys_iterations(valley, 2)[4]
    asked = list(itertools.islice(wanted_points(2, known.get), 32))

    assert sorted(tuple(round(value, 9) for value in point) for point in asked[:8]) == sorted(
        iteration
    )
    assert len({*asked, *known}) == 15 + 32
    # One after the other, they get the same: what is handed out is known to be under way.
    for expected in asked:
        point = next(wanted_points(2, known.get))
        known[point] = Known(None)
        assert point == expected


def test_the_order_in_which_evaluations_end_does_not_matter() -> None:
    first = in_series(waves, 2, 29)
    known = {point: Known(waves(point)) for point in first}

    shuffled = dict(reversed(known.items()))

    assert next(wanted_points(2, shuffled.get)) == in_series(waves, 2, 30)[-1]


def test_the_division_ends_at_its_finest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_l, "FINEST_LEVEL", 2)

    assert len(list(wanted_points(1, lambda _: None))) == 9
