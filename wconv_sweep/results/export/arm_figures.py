"""The figures of a study that searches more than the density: both arms of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import optuna
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from wconv_sweep.evidence.candidates import searched, surrogate_of
from wconv_sweep.evidence.coordinates import Coordinates
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.results import arm_plots, parameter_plots
from wconv_sweep.results.arm_plots import ArmTrials, Params, Response
from wconv_sweep.search.known_trials import KnownTrials
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm, Setting
from wconv_sweep.study.search_space import (
    Distribution,
    distributions_of,
    params_of,
    point_at,
    space_of,
)

MIN_FITTED = 3
"""Minimum number of completed trials of an arm for its expected objective."""
MIN_RATED = 30
"""Minimum number of completed trials of an arm for the importance of its parameters: with 20 of a
simple response, the evaluator named the wrong one as the most important in 4 of 15 searches, with
30 in 1."""


def arm_figures(config: StudyConfig, trials: Sequence[TrialRow]) -> Iterator[tuple[str, Figure]]:
    """Return the figures that tell the arms of a search apart, by name.

    There are none before a trial of each arm has completed, and where the search has one arm.
    """
    points = {arm: _points(trials, arm) for arm in SearchArm}
    if not all(points.values()):
        return
    study = config.study
    arms = {arm: _arm(config, trials, arm, points[arm]) for arm in SearchArm}
    keys = list(config.search.also)
    coefficients = [name for name in distributions_of(config) if name not in keys]
    metric, own_unit = config.objective.metric, config.objective.unit
    direction = config.direction
    pairs = list(product(coefficients, keys))
    yield "response", arm_plots.pair_figure(arms, pairs, metric, direction, study, own_unit)
    yield "parallel", parameter_plots.parallel_figure(arms, metric, direction, study, own_unit)
    rated = {arm: found for arm in SearchArm if (found := _importances(config, arm, points[arm]))}
    if rated:
        yield "importance", parameter_plots.importance_figure(rated, study)


def _points(trials: Sequence[TrialRow], arm: SearchArm) -> list[tuple[Point, float]]:
    return [each for each in searched(trials, arm) if math.isfinite(each[1])]


def _arm(
    config: StudyConfig,
    trials: Sequence[TrialRow],
    arm: SearchArm,
    points: Sequence[tuple[Point, float]],
) -> ArmTrials:
    params = [params_of(config, point) for point, _ in points]
    space = space_of(config, arm)
    return ArmTrials(
        arm=arm,
        space={
            name: _widened(one, [each[name] for each in params]) for name, one in space.items()
        },
        params=params,
        value_N=np.array([value for _, value in points]),
        response=_response(config, trials, arm) if len(points) >= MIN_FITTED else None,
    )


def _widened(one: Distribution, values: Sequence[Setting]) -> Distribution:
    """Return a range that holds all values: reference densities may lie outside of their own."""
    if isinstance(one, CategoricalDistribution) or not isinstance(one, FloatDistribution):
        return one
    numbers = [float(value) for value in values]
    return FloatDistribution(min(one.low, *numbers), max(one.high, *numbers), log=one.log)


def _response(config: StudyConfig, trials: Sequence[TrialRow], arm: SearchArm) -> Response:
    surrogate, space = surrogate_of(trials, config, arm), Coordinates(config, arm)
    assert surrogate is not None

    def mean_sd(
        points: Sequence[Params],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return surrogate.mean_sd([space.of(point_at(config, each)) for each in points])

    return Response(mean_sd, params_of(config, space.point(surrogate.best_point())))


def _importances(
    config: StudyConfig, arm: SearchArm, points: Sequence[tuple[Point, float]]
) -> Mapping[str, float]:
    """Return the importance of each parameter by Optuna's default evaluator; they add up to 1.

    Empty where an arm has one parameter, too few trials, or values that are all equal.
    """
    known = KnownTrials(config, arm)
    names = list(known.space)
    if len(names) == 1 or len(points) < MIN_RATED or len({value for _, value in points}) == 1:
        return {}
    for number, (point, value) in enumerate(points):
        known.tell(number, point, TrialState.COMPLETE, value)
    # Named, because Optuna takes them from a set otherwise, whose order differs from run to run.
    found = optuna.importance.get_param_importances(known.study(inside=True), params=names)
    return {name: found[name] for name in names}
