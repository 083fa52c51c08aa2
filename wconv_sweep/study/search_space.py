"""The space of a search: points as values of Optuna parameters, and back."""

import math
from collections.abc import Mapping

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from wconv_jobs.spec import Density
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.parameter import ParameterSpec
from wconv_sweep.study.point import Point, SearchArm, Setting

Distribution = FloatDistribution | IntDistribution | CategoricalDistribution


def distributions_of(config: StudyConfig) -> dict[str, Distribution]:
    """Return the parameters of a trial: `density_1` (the outermost coefficient) to `density_n`,
    then the keys in `search.also`."""
    densities = {
        f"density_{number}": FloatDistribution(low, high)
        for number, (low, high) in enumerate(config.search.bounds, start=1)
    }
    return {**densities, **_also(config)}


def space_of(config: StudyConfig, arm: SearchArm | None) -> dict[str, Distribution]:
    """Return the parameters that are proposed: plain convolution has no density to choose."""
    return {**_also(config)} if arm is SearchArm.PLAIN else distributions_of(config)


def params_of(config: StudyConfig, point: Point) -> dict[str, Setting]:
    """Return the parameters of a point by name."""
    coefficients = range(1, len(config.search.bounds) + 1)
    names = (f"density_{number}" for number in coefficients)
    return {**dict(zip(names, point.density, strict=True)), **dict(point.settings)}


def point_at(config: StudyConfig, params: Mapping[str, Setting]) -> Point:
    """Return the point with these parameters; plain convolution where they name no density."""
    coefficients = range(1, len(config.search.bounds) + 1)
    density = tuple(float(params.get(f"density_{number}", 1.0)) for number in coefficients)
    return Point(density, tuple((key, params[key]) for key in config.search.also))


def weighted_density(config: StudyConfig) -> Density:
    """Return a density of the search that is not plain convolution."""
    low, high = zip(*config.search.bounds, strict=True)
    return high if all(value == 1 for value in low) else low


def at_share(distribution: Distribution, share: float) -> Setting:
    """Return the value that lies at a share, from 0 to 1, of a parameter's range."""
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        if distribution.log:
            return _within(distribution, math.exp(math.log(low) + math.log(high / low) * share))
        return low + (high - low) * share
    if isinstance(distribution, IntDistribution):
        low, high = distribution.low - 0.5, distribution.high + 0.5
        log = distribution.log
        value = low * (high / low) ** share if log else low + (high - low) * share
        return int(_within(distribution, round(value)))
    choices = choices_of(distribution)
    return choices[min(int(share * len(choices)), len(choices) - 1)]


def share_of(distribution: Distribution, value: Setting) -> float:
    """Return where a value lies in its parameter's range: 0 at the lower end, 1 at the upper.

    What lies outside of the range lies outside of 0 to 1. Choices are a whole apart from each
    other.
    """
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value))
    low, high, number = distribution.low, distribution.high, float(value)
    if distribution.log:
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)


def shifted(distribution: Distribution, value: Setting, by: float) -> Setting:
    """Return the value that lies a share of the range beside another, and within the range."""
    if isinstance(distribution, CategoricalDistribution):
        return value
    low, high, number = distribution.low, distribution.high, float(value)
    if distribution.log:
        moved = number * math.exp(by * math.log(high / low))
    else:
        moved = number + by * (high - low)
    if isinstance(distribution, IntDistribution):
        return int(_within(distribution, round(moved)))
    return _within(distribution, moved)


def choices_of(distribution: CategoricalDistribution) -> tuple[Setting, ...]:
    """Return the values of a parameter without an order; those of a study are never None."""
    return tuple(each for each in distribution.choices if each is not None)


def holds(distribution: Distribution, value: Setting) -> bool:
    """Return whether a parameter may have a value; reference densities may lie outside."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return distribution.low <= float(value) <= distribution.high


def _also(config: StudyConfig) -> dict[str, Distribution]:
    return {key: _distribution(spec) for key, spec in config.search.also.items()}


def _distribution(spec: ParameterSpec) -> Distribution:
    if spec.choices is not None:
        return CategoricalDistribution(spec.choices)
    assert spec.low is not None
    assert spec.high is not None
    if spec.integer:
        return IntDistribution(int(spec.low), int(spec.high), log=spec.log)
    return FloatDistribution(spec.low, spec.high, log=spec.log)


def _within(distribution: FloatDistribution | IntDistribution, value: float) -> float:
    return min(max(value, distribution.low), distribution.high)
