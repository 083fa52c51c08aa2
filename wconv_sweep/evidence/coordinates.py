"""Points as the coordinates of a surrogate, and back.

A density is its coefficients. A number of another key is one coordinate, its logarithm where equal
ratios count; of choices each has a coordinate of its own, 1 where it is chosen.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm, Setting
from wconv_sweep.study.search_space import Distribution, choices_of, params_of, point_at, space_of

Vector = NDArray[np.float64]


class Coordinates:
    """The coordinates of the points that a search, or an arm of it, proposes."""

    def __init__(self, config: StudyConfig, arm: SearchArm | None) -> None:
        self._config = config
        self._space = space_of(config, arm)

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Lower and upper bound of each coordinate."""
        return [bound for one in self._space.values() for bound in _bounds(one)]

    def of(self, point: Point) -> list[float]:
        """Return the coordinates of a point."""
        params = params_of(self._config, point)
        return [each for name, one in self._space.items() for each in _values(one, params[name])]

    def point(self, values: "tuple[float, ...]") -> Point:
        """Return the point at coordinates that `snap` has moved."""
        params: dict[str, Setting] = {}
        for name, part in _parts(self._space).items():
            params[name] = _setting(self._space[name], values[part])
        return point_at(self._config, params)

    def snap(self, unit_PC: Vector) -> Vector:
        """Return the nearest points of the unit cube that can be trained."""
        snapped_PC = unit_PC.copy()
        for name, part in _parts(self._space).items():
            one = self._space[name]
            if isinstance(one, CategoricalDistribution):
                snapped_PC[:, part] = np.eye(len(one.choices))[unit_PC[:, part].argmax(axis=1)]
            elif isinstance(one, IntDistribution):
                ((low, high),) = _bounds(one)
                value_P1 = low + unit_PC[:, part] * (high - low)
                whole_P1 = np.rint(np.exp(value_P1)) if one.log else np.rint(value_P1)
                snapped_P1 = np.log(whole_P1) if one.log else whole_P1
                snapped_PC[:, part] = (snapped_P1 - low) / (high - low)
        return snapped_PC


def _parts(space: Mapping[str, Distribution]) -> dict[str, slice]:
    parts, begin = {}, 0
    for name, one in space.items():
        end = begin + len(_bounds(one))
        parts[name], begin = slice(begin, end), end
    return parts


def _bounds(one: Distribution) -> list[tuple[float, float]]:
    if isinstance(one, CategoricalDistribution):
        return [(0.0, 1.0)] * len(one.choices)
    if one.log:
        return [(math.log(one.low), math.log(one.high))]
    return [(float(one.low), float(one.high))]


def _values(one: Distribution, value: Setting) -> list[float]:
    if isinstance(one, CategoricalDistribution):
        return [float(each == value) for each in one.choices]
    return [math.log(float(value)) if one.log else float(value)]


def _setting(one: Distribution, values: "tuple[float, ...]") -> Setting:
    if isinstance(one, CategoricalDistribution):
        return choices_of(one)[values.index(max(values))]
    (value,) = values
    number = math.exp(value) if one.log else value
    if isinstance(one, IntDistribution):
        return round(number)
    # Four digits: more would mean nothing.
    rounded = float(f"{number:.4g}") if one.log else number
    return min(max(rounded, one.low), one.high)
