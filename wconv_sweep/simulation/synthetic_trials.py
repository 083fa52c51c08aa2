"""Trials that were never trained: their values come from a response, and are told to the sampler.

The points come from `wconv_sweep.search.sampling.propose`, the code that agents call. A value is
that of the response plus a draw of N(0, 1): all is in standard deviations of the seed. `workers`
trials run at a time and take 1 +- 0.1 each.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import TrialState

from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.search.known_trials import KnownTrials
from wconv_sweep.search.sampling import propose
from wconv_sweep.simulation.surfaces import SHAPES
from wconv_sweep.storage.slot_plan import PlannedSlot, plan_slots
from wconv_sweep.storage.tables import SEARCHING, SlotState, Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm

DURATION_SD = 0.1
"""Relative spread of the time of a trial."""

Response = Callable[[Sequence[float]], float]
"""Mean over all seeds at a density, given as shares of its bounds."""


@dataclass(frozen=True)
class Trained:
    """A synthetic trial."""

    point: Point
    value: float
    """What was observed."""
    truth: float
    """Value of the response, i.e. the mean over all seeds; 0 is the optimum."""
    arm: SearchArm | None = None
    """Of a search that has two."""


def planned_studies(
    config: StudyConfig, workers: Sequence[int], repeats: int
) -> list[tuple[str, int, int]]:
    """Return surface, number of workers and seed of each synthetic study, in the order of repeats.

    Args:
        config: the study.
        workers: trials at the same time.
        repeats: studies of each surface and number of workers.
    """
    return [
        (shape, count, derive_seed(config.seed, "simulation", shape, count, repeat) % 2**32)
        for repeat in range(repeats)
        for shape in SHAPES
        for count in workers
    ]


def train_on(
    config: StudyConfig, response: Response, workers: int, trials: int, seed: int
) -> list[Trained]:
    """Return the trials of a search of the density, in the order of their start; see `train`.

    Args:
        config: the study.
        response: the surface, in standard deviations of the seed.
        workers: trials that run at the same time.
        trials: how many, reference densities included; a grid has as many as it has.
        seed: of the noise, of the sampler and of how long each trial takes.
    """
    return train(config, lambda point: response(shares(config, point)), workers, trials, seed)


def train(
    config: StudyConfig,
    truth_at: Callable[[Point], float],
    workers: int,
    trials: int,
    seed: int,
) -> list[Trained]:
    """Return the trials of a study, of both arms if it has two, in the order of their start.

    Args:
        config: the study; its sampler, bounds and reference densities are used.
        truth_at: the mean over all seeds at a point, in standard deviations of the seed.
        workers: trials that run at the same time.
        trials: how many, reference densities included; a grid has as many as it has.
        seed: of the noise, of the sampler and of how long each trial takes.
    """
    config = config.model_copy(update={"seed": seed})
    noise = np.random.default_rng([seed, 1]).normal(size=trials)
    durations = 1 + DURATION_SD * np.random.default_rng([seed, 2]).normal(size=trials)
    planned = _searching(config, trials)
    # The arms do not see each other's trials.
    known = {slot.arm: KnownTrials(config, slot.arm) for slot in planned}
    begun = list[Trained]()
    running: list[tuple[float, int]] = []
    now = 0.0
    for number, slot in enumerate(planned):
        if len(running) == workers:
            now, ended = heapq.heappop(running)
            trained = begun[ended]
            value = as_objective(config, trained.value)
            known[trained.arm].tell(ended, state=TrialState.COMPLETE, value=value)
        mine = known[slot.arm]
        mine.tell(number)
        point, notes = slot.point, dict[str, Any]()
        if point is None and slot.replicate:
            point = begun[-1].point
        elif point is None:
            proposal = propose(config, mine, number, number)
            point, notes = proposal.point, dict(proposal.attributes)
        mine.tell(number, point, attributes=notes)
        truth = truth_at(point)
        begun.append(Trained(point, truth + float(noise[number]), truth, slot.arm))
        heapq.heappush(running, (now + float(durations[number]), number))
    return begun


def _searching(config: StudyConfig, trials: int) -> list[PlannedSlot]:
    """Return the slots of a study up to its confirmation, for so many trials."""
    budget = config.budget.model_copy(update={"trials": trials})
    searching = config.model_copy(update={"budget": budget, "confirm": None})
    return [slot for slot in plan_slots(searching) if slot.stage in SEARCHING][:trials]


def shares(config: StudyConfig, point: Point) -> list[float]:
    """Return a point in the unit cube; what lies outside of the bounds lies outside of it."""
    return [
        (value - low) / (high - low)
        for (low, high), value in zip(config.search.bounds, point.density, strict=True)
    ]


def as_objective(config: StudyConfig, value: float) -> float:
    """Return a value of which more is better as the objective has it, and the other way round."""
    return value if config.direction == "maximize" else -value


def rows_of(config: StudyConfig, searched: Sequence[Trained]) -> list[TrialRow]:
    """Return synthetic trials as a study has them, all completed."""
    return [
        TrialRow(
            position=number,
            stage=Stage.SEARCH,
            label=None,
            point=each.point,
            state=SlotState.COMPLETE,
            trial=number,
            attempt=1,
            epoch=config.recipe.epochs,
            value=as_objective(config, each.value),
            metrics={},
            provenance={},
            reason=None,
            lease_until=None,
            arm=each.arm,
        )
        for number, each in enumerate(searched)
    ]
