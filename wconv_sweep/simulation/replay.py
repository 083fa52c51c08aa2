"""A search of the density on synthetic surfaces: what to expect of its budget and its workers.

All is in standard deviations of the seed, see `wconv_sweep.simulation.synthetic_trials`.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from wconv_sweep.evidence.candidates import choose_candidates, surrogate_of
from wconv_sweep.evidence.statistics import paired_difference
from wconv_sweep.simulation.surfaces import surface
from wconv_sweep.simulation.synthetic_trials import (
    Response,
    Trained,
    as_objective,
    planned_studies,
    rows_of,
    shares,
    train_on,
)
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.point import Point

NamedBy = Literal["observed", "model", "confirmed"]
"""The best observed run, the maximum of the surrogate, or the best of both by fresh seeds."""
NAMED_BY: tuple[NamedBy, ...] = get_args(NamedBy)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one synthetic study, for one way of selecting a density."""

    shape: str
    workers: int
    trials: int
    """Number of trained trials, confirmation included."""
    named_by: NamedBy
    regret: float
    """Distance of the selected density's true value to the optimum."""
    bias: float
    """Predicted minus true value of that density."""
    covered: bool | None = None
    """Whether the 95 % interval of the difference to the plain baseline holds the true one; None
    where the study gives none."""


@dataclass(frozen=True)
class Cell:
    """Expectation for one budget and one number of workers; means over studies and surfaces."""

    workers: int
    trials: int
    named_by: NamedBy
    studies: int
    regret: float
    regret_error: float
    """Standard error of the mean."""
    bias: float
    bias_error: float
    coverage: float | None
    """Share of the 95 % intervals that hold the true difference."""


def simulate(
    config: StudyConfig,
    *,
    budgets: Sequence[int],
    workers: Sequence[int],
    repeats: int,
    named_by: Sequence[NamedBy] = NAMED_BY,
    on_study: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome]:
    """Run synthetic studies to their ends, and return their outcomes.

    A study of a smaller budget is the start of one with a larger one: its trials are the same.

    Args:
        config: the study; see `train_on`.
        budgets: trials, confirmation included.
        workers: trials at the same time.
        repeats: studies of each surface and number of workers, each with an optimum of its own.
        named_by: the ways of naming that are followed.
        on_study: gets how many studies are done, of how many.
    """
    outcomes: list[Outcome] = []
    plan = planned_studies(config, workers, repeats)
    for done, (shape, count, seed) in enumerate(plan, start=1):
        response = surface(shape, len(config.search.bounds), seed)
        # The matrices are small: threads that wait for each other take three times as long.
        with threadpool_limits(1):
            trained = train_on(config, response, count, max(budgets), seed)
            named = [
                list(_name(config, response, trained, each, seed, named_by)) for each in budgets
            ]
        for budget, found in zip(budgets, named, strict=True):
            outcomes += [
                Outcome(
                    shape,
                    count,
                    budget if by == "confirmed" else min(budget, len(trained)),
                    by,
                    regret,
                    bias,
                    covered,
                )
                for by, regret, bias, covered in found
            ]
        on_study(done, len(plan))
    return outcomes


def standard_budgets(config: StudyConfig) -> list[int]:
    """Return half of a study's budget, the budget, and twice the budget; of a grid, the budget."""
    trials = config.budget.trials
    if config.search.sampler.name == "grid":
        return [trials]
    half = max(trials // 2, len(config.references()) + 1)
    return sorted({half, trials, 2 * trials})


def cells(outcomes: Iterable[Outcome]) -> list[Cell]:
    """Return the means over surfaces and repeats, by workers, budget and way of selecting."""
    grouped: dict[tuple[int, int, NamedBy], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.workers, outcome.trials, outcome.named_by].append(outcome)
    found = []
    for (workers, trials, named_by), group in grouped.items():
        regrets = np.array([each.regret for each in group])
        biases = np.array([each.bias for each in group])
        held = [each.covered for each in group if each.covered is not None]
        found.append(
            Cell(
                workers,
                trials,
                named_by,
                len(group),
                float(regrets.mean()),
                standard_error(regrets),
                float(biases.mean()),
                standard_error(biases),
                sum(held) / len(held) if held else None,
            )
        )
    return sorted(
        found, key=lambda cell: (cell.workers, cell.trials, NAMED_BY.index(cell.named_by))
    )


def _name(
    config: StudyConfig,
    response: Response,
    trained: Sequence[Trained],
    budget: int,
    seed: int,
    named_by: Sequence[NamedBy],
) -> Iterator[tuple[NamedBy, float, float, bool | None]]:
    """Yield the way of selecting the density, its regret, the bias of its value, the coverage."""
    searched = trained[:budget]
    if "observed" in named_by:
        best = max(searched, key=lambda each: each.value)
        yield "observed", -best.truth, best.value - best.truth, None
    if "model" in named_by:
        yield "model", *_by_model(config, response, searched), None
    if "confirmed" in named_by and config.confirm is not None:
        searched = trained[: budget - config.confirm_trials]
        if budget >= config.confirm_trials + len(config.references()) * config.search.seeds:
            yield "confirmed", *_by_confirmation(config, response, searched, [seed, 3, budget])


def _by_model(
    config: StudyConfig, response: Response, searched: Sequence[Trained]
) -> tuple[float, float]:
    """Return regret and bias of the surrogate's maximum, whose predicted value is its mean."""
    model = surrogate_of(rows_of(config, searched), config)
    assert model is not None
    density = model.best_point()
    (promised,), _ = model.mean_sd([density])
    truth = response(shares(config, Point(density)))
    return -truth, as_objective(config, float(promised)) - truth


def _by_confirmation(
    config: StudyConfig, response: Response, searched: Sequence[Trained], seed: Sequence[int]
) -> tuple[float, float, bool | None]:
    """Return regret, bias and coverage of the candidate that is best on fresh seeds.

    If all candidates are plain convolution, that is selected, and nothing is compared.
    """
    assert config.confirm is not None
    candidates = list(choose_candidates(rows_of(config, searched), config).weighted.values())
    plain = Point(config.references()[PLAIN])
    truths = [response(shares(config, each)) for each in [plain, *candidates]]
    random = np.random.default_rng(seed)
    runs = [dict(enumerate(truth + random.normal(size=config.confirm.seeds))) for truth in truths]
    means = [statistics.fmean(each.values()) for each in runs]
    named = max(range(1, len(runs)), key=lambda arm: means[arm], default=0)
    bias = means[named] - truths[named]
    if not named:
        return -truths[0], bias, None
    difference = paired_difference(runs[named], runs[0], comparisons=len(candidates))
    assert difference is not None
    assert difference.interval is not None
    low, high = difference.interval
    return -truths[named], bias, low <= truths[named] - truths[0] <= high


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Return the standard error of a mean; nan for one value."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
