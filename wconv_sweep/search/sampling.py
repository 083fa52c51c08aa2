"""Points are proposed by Optuna's samplers, by seeds that depend on the slot alone."""

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler

from wconv_jobs.seeding import derive_seed
from wconv_sweep.search import direct_l
from wconv_sweep.search.known_trials import KnownTrials
from wconv_sweep.storage.tables import MOVED
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm, Setting
from wconv_sweep.study.sampler_by_path import make_sampler
from wconv_sweep.study.search_config import (
    CmaesSpec,
    DirectLSpec,
    GpSpec,
    OptunaSpec,
    QmcSpec,
    TpeSpec,
)
from wconv_sweep.study.search_space import (
    Distribution,
    at_share,
    choices_of,
    params_of,
    point_at,
    share_of,
    shifted,
)

GP_TRIALS = 300
"""Completed trials up to which `gp` fits a Gaussian process, whose cost grows with their cube."""
TRIES = 5
"""Number of seeds to try before a repeated point is moved."""
SAME = 1e-3
"""Points closer than this share of the bounds, in every coefficient, are one to `gp`."""
NEAR = 0.02
"""How far a repeated point is moved, as a share of the bounds, in each coefficient: at most so
far, and further where there is no room."""


@dataclass(frozen=True)
class Proposal:
    """The proposal of a sampler."""

    point: Point
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """System attributes of the Optuna trial that later proposals, of any agent, build on."""


def propose(config: StudyConfig, mirror: KnownTrials, trial: int, position: int) -> Proposal:
    """Return the proposal of the study's sampler for a running trial.

    The sampler's seed depends on the study and the slot's place in it: a study worked on by one
    pilot proposes the same points each time it is run, whatever else the storage holds.
    A point equal to that of another trial would give its very numbers again, so other seeds are
    tried, and a point near it in the end. A Gaussian process names the same corner under every
    seed, because it wants a second value there: it gets one from close by.

    Args:
        config: the study's definition.
        mirror: the trials of the study.
        trial: number of the trial, which has no point yet.
        position: place of the slot in its study.
    """
    chosen = config.search.sampler
    if isinstance(chosen, QmcSpec):
        return _from_sequence(config, mirror, chosen, position)
    mirror.refresh()
    if isinstance(chosen, DirectLSpec):
        center = _direct_l_point(config, mirror, trial)
        if center is not None:
            return Proposal(center)
    tries, apart = (1, SAME) if isinstance(chosen, GpSpec) else (TRIES, 0.0)
    for attempt in range(tries):
        # The first seed takes no attempt, so that the points of earlier versions stay.
        parts = (position, attempt) if attempt else (position,)
        seed = derive_seed(config.seed, "sampler", *parts) % 2**32
        point = _ask(config, mirror, trial, _sampler(config, mirror, seed))
        if not _is_taken(config, mirror, point, apart):
            # Attributes of other samplers only repeat the point.
            return Proposal(point, mirror.written if chosen.takes_notes else {})
    notes = mirror.written if chosen.takes_notes else {}
    return _moved_proposal(config, mirror, point, position, apart=apart, notes=notes)


def _from_sequence(
    config: StudyConfig, mirror: KnownTrials, chosen: QmcSpec, position: int
) -> Proposal:
    """Return the proposal of the Sobol sequence for a slot.

    In a space of numbers it belongs to the slot, whatever is known. One of whole numbers and
    choices alone has few points, which the sequence meets again and again.
    """
    point = _sobol_point(config, mirror, chosen, position)
    if any(isinstance(one, FloatDistribution) for one in mirror.space.values()):
        return Proposal(point)
    mirror.refresh()
    if not _is_taken(config, mirror, point, 0.0):
        return Proposal(point)
    return _moved_proposal(config, mirror, point, position)


def _moved_proposal(
    config: StudyConfig,
    mirror: KnownTrials,
    point: Point,
    position: int,
    *,
    apart: float = 0.0,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Proposal:
    """Return a point near one that is taken, with what was proposed."""
    seed = derive_seed(config.seed, "sampler", position, TRIES) % 2**32
    moved = _moved(config, mirror, point, apart, seed)
    proposed = point.plain() if point.settings else list(point.density)
    return Proposal(moved, {**notes, MOVED: proposed})


def _is_taken(config: StudyConfig, mirror: KnownTrials, point: Point, share: float) -> bool:
    """Return whether another trial has a point, up to a share of the bounds."""
    if not share:
        return point in mirror.points
    shares = _shares(config, mirror, point)
    return any(
        all(
            abs(value - other) < share
            for value, other in zip(shares, _shares(config, mirror, known), strict=True)
        )
        for known in mirror.points
    )


def _shares(config: StudyConfig, mirror: KnownTrials, point: Point) -> list[float]:
    params = params_of(config, point)
    return [share_of(distribution, params[name]) for name, distribution in mirror.space.items()]


def _moved(
    config: StudyConfig, mirror: KnownTrials, point: Point, apart: float, seed: int
) -> Point:
    """Return a point near one that is taken, within the bounds, and apart from all others."""
    drawn, params = random.Random(seed), params_of(config, point)
    for tried in itertools.count():
        reach = NEAR * (1 + tried / 20)
        moved = point_at(
            config,
            params
            | {
                name: _beside(distribution, params[name], reach, drawn)
                for name, distribution in mirror.space.items()
            },
        )
        if not _is_taken(config, mirror, moved, apart):
            break
    return moved


def _beside(
    distribution: Distribution, value: Setting, reach: float, drawn: random.Random
) -> Setting:
    """Return a value at most so far, as a share of the range, from another.

    Choices have no neighbors: another one is taken where there is no room near by.
    """
    by = drawn.uniform(-reach, reach)
    if isinstance(distribution, CategoricalDistribution) and abs(by) > NEAR:
        return drawn.choice(choices_of(distribution))
    return shifted(distribution, value, by)


def _ask(config: StudyConfig, mirror: KnownTrials, number: int, sampler: BaseSampler) -> Point:
    # Optuna's Gaussian process starts from the best trial and cuts to the bounds only at the end:
    # one outside would draw each proposal to the same place on the edge.
    study = mirror.study(sampler, inside=isinstance(sampler, GPSampler))
    trial = mirror.trial(number)
    sampler.before_trial(study, trial)
    space = sampler.infer_relative_search_space(study, trial)
    params = sampler.sample_relative(study, trial, space)
    for name, distribution in mirror.space.items():
        if name not in params:
            params[name] = sampler.sample_independent(study, trial, name, distribution)
    return point_at(config, params)


def _sampler(config: StudyConfig, mirror: KnownTrials, seed: int) -> BaseSampler:
    chosen = config.search.sampler
    if isinstance(chosen, TpeSpec):
        return TPESampler(
            n_startup_trials=chosen.startup_trials,
            multivariate=chosen.multivariate,
            constant_liar=chosen.constant_liar,
            seed=seed,
        )
    if isinstance(chosen, GpSpec):
        if mirror.completed > GP_TRIALS:
            return TPESampler(seed=seed)
        return GPSampler(n_startup_trials=chosen.startup_trials, seed=seed)
    if isinstance(chosen, CmaesSpec):
        return CmaEsSampler(seed=seed)
    if isinstance(chosen, OptunaSpec):
        return make_sampler(chosen, seed)
    return RandomSampler(seed=seed)


def _sobol_point(
    config: StudyConfig, mirror: KnownTrials, chosen: QmcSpec, position: int
) -> Point:
    """Return the point of the sequence that belongs to a slot, regardless of worker and time."""
    # Imported here: it takes half a second, and no other sampler needs it.
    from scipy.stats import qmc

    seed = derive_seed(config.seed, "qmc", *([mirror.arm.value] if mirror.arm else [])) % 2**32
    sequence = qmc.Sobol(len(mirror.space), scramble=chosen.scramble, seed=seed)
    seeds = config.search.seeds
    number = (position - len(config.references()) * seeds) // seeds
    if mirror.arm:
        number //= len(SearchArm)  # the arms take turns
    if number:
        sequence.fast_forward(number)
    (shares,) = sequence.random(1)
    return _at(config, mirror, shares)


def _at(config: StudyConfig, mirror: KnownTrials, shares: Iterable[float]) -> Point:
    """Return the point at a place of the unit cube of the parameters that are proposed."""
    pairs = zip(mirror.space.items(), shares, strict=True)
    return point_at(config, {name: at_share(one, float(share)) for (name, one), share in pairs})


def _direct_l_point(config: StudyConfig, mirror: KnownTrials, trial: int) -> Point | None:
    """Return the center that a trial evaluates; None once the division is at its finest.

    Trials that were started before this one and have no point yet will take the centers before:
    agents that ask at the same time get one each.
    """
    sign = -1.0 if config.direction == "maximize" else 1.0
    known = {
        point: direct_l.Known(None if value is None else sign * value)
        for point, value in mirror.outcomes().items()
    }

    def point_of(center: direct_l.Point) -> Point:
        # Rounded, so that a center with the digits of a reference density is found to be it.
        exact = _at(config, mirror, center)
        settings = tuple(
            (key, round(value, 12) if isinstance(value, float) else value)
            for key, value in exact.settings
        )
        return Point(tuple(round(value, 12) for value in exact.density), settings)

    wanted = direct_l.wanted_points(len(mirror.space), lambda center: known.get(point_of(center)))
    ahead = mirror.undecided_before(trial)
    center = next(itertools.islice(wanted, ahead, None), None)
    return None if center is None else point_of(center)
