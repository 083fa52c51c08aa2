"""Points as values of Optuna parameters, and back."""

from collections.abc import Mapping

from optuna.distributions import FloatDistribution

from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point


def distributions_of(config: StudyConfig) -> dict[str, FloatDistribution]:
    """Return the parameters `density_1` (the outermost coefficient) to `density_n`."""
    return {
        f"density_{number}": FloatDistribution(low, high)
        for number, (low, high) in enumerate(config.search.bounds, start=1)
    }


def params_of(config: StudyConfig, point: Point) -> dict[str, float]:
    """Return the parameters of a point by name."""
    return dict(zip(distributions_of(config), point.density, strict=True))


def point_at(config: StudyConfig, params: Mapping[str, float]) -> Point:
    """Return the point that has these parameters."""
    return Point(tuple(float(params[name]) for name in distributions_of(config)))
