"""A study's search on made-up surfaces: what its budget and its workers can be expected to find.

The densities come from `wconv_sweep.sampling.propose`, the same code that agents call, which is
told trials that were never trained. A value is that of the surface plus a draw of N(0, 1): all is
in standard deviations of the seed. `workers` trials run at a time and take 1 +- 0.1 each.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from optuna.trial import TrialState

from wconv_jobs.seeding import derive_seed
from wconv_sweep.known_trials import KnownTrials
from wconv_sweep.sampling import propose
from wconv_sweep.study_config import PLAIN, StudyConfig
from wconv_sweep.surfaces import SHAPES, surface
from wconv_sweep.surrogate import fit

CONFIRMED = 3
"""Densities that are trained on fresh seeds: the model's, the best observed, the plain one."""
DURATION_SD = 0.1
"""Spread of the time that a trial takes, relative to it."""


Response = Callable[[Sequence[float]], float]
"""What the mean over all seeds would be at a density, given as shares of its bounds."""
NamedBy = Literal["observed", "model", "confirmed"]
"""The best observed run, the maximum of the surrogate, or the best of both by fresh seeds."""
NAMED_BY: tuple[NamedBy, ...] = get_args(NamedBy)


@dataclass(frozen=True)
class Trained:
    """A made-up trial."""

    density: tuple[float, ...]
    value: float
    """What was observed."""
    truth: float
    """Value of the surface, what the mean over all seeds would be; 0 is the best there is."""


@dataclass(frozen=True)
class Outcome:
    """What one made-up study came to, by one way of naming a density."""

    shape: str
    workers: int
    trials: int
    """All that were trained, confirmation included."""
    named_by: NamedBy
    regret: float
    """How far the named density is below the best there is."""
    bias: float
    """By how much the value that is promised exceeds the true one of that density."""
    covered: bool | None = None
    """Whether the 95 % interval of the difference to the plain baseline holds the true one; None
    where the study gives none."""


@dataclass(frozen=True)
class Cell:
    """What to expect of one budget with one number of workers; means over studies and surfaces."""

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
    confirm_seeds: int = 5,
    named_by: Sequence[NamedBy] = NAMED_BY,
    on_study: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome]:
    """Run made-up studies to their ends, and return what each came to.

    A study of a smaller budget is the beginning of one with a larger one: its trials are the same.

    Args:
        config: the study; see `train_on`.
        budgets: trials, confirmation included.
        workers: trials at the same time.
        repeats: studies of each surface and number of workers, each with an optimum of its own.
        confirm_seeds: fresh seeds of each of `CONFIRMED` densities; 0: no confirmation.
        named_by: the ways of naming that are followed.
        on_study: gets how many studies are done, of how many.
    """
    outcomes: list[Outcome] = []
    plan = [
        (shape, count, repeat)
        for repeat in range(repeats)
        for shape in SHAPES
        for count in workers
    ]
    for done, (shape, count, repeat) in enumerate(plan, start=1):
        seed = derive_seed(config.seed, "simulation", shape, count, repeat) % 2**32
        response = surface(shape, len(config.search.bounds), seed)
        trained = train_on(config, response, count, max(budgets), seed)
        for budget in budgets:
            found = _name(config, response, trained, budget, confirm_seeds, seed, named_by)
            outcomes += [
                Outcome(shape, count, budget, by, regret, bias, covered)
                for by, regret, bias, covered in found
            ]
        on_study(done, len(plan))
    return outcomes


def standard_budgets(config: StudyConfig) -> list[int]:
    """Return half of a study's budget, all and twice of it; of a grid all."""
    trials = config.budget.trials
    if config.search.sampler.name == "grid":
        return [trials]
    half = max(trials // 2, len(config.fixed_points()) + 1)
    return sorted({half, trials, 2 * trials})


def cells(outcomes: Iterable[Outcome]) -> list[Cell]:
    """Return the means over surfaces and repeats, by workers, budget and way of naming."""
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
                _standard_error(regrets),
                float(biases.mean()),
                _standard_error(biases),
                sum(held) / len(held) if held else None,
            )
        )
    return sorted(
        found, key=lambda cell: (cell.workers, cell.trials, NAMED_BY.index(cell.named_by))
    )


def train_on(
    config: StudyConfig, response: Response, workers: int, trials: int, seed: int
) -> list[Trained]:
    """Return the trials of a study, in the order in which they were begun.

    Args:
        config: the study; its sampler, bounds and fixed points are used.
        response: what is found, in standard deviations of the seed.
        workers: trials that run at the same time.
        trials: how many, fixed points included.
        seed: of the noise, of the sampler and of how long each trial takes.
    """
    config = config.model_copy(update={"seed": seed})
    noise = np.random.default_rng([seed, 1]).normal(size=trials)
    durations = 1 + DURATION_SD * np.random.default_rng([seed, 2]).normal(size=trials)
    given = [*config.fixed_points().values(), *config.grid_points()]
    known, begun = KnownTrials(config), list[Trained]()
    running: list[tuple[float, int]] = []
    now = 0.0
    for number in range(trials):
        if len(running) == workers:
            now, ended = heapq.heappop(running)
            trained = begun[ended]
            known.tell(ended, state=TrialState.COMPLETE, value=_in(config, trained.value))
        known.tell(number)
        if number < len(given):
            density, notes = given[number], {}
        else:
            proposal = propose(config, known, number, number)
            density, notes = proposal.density, dict(proposal.attributes)
        known.tell(number, density, attributes=notes)
        truth = response(shares(config, density))
        begun.append(Trained(density, truth + float(noise[number]), truth))
        heapq.heappush(running, (now + float(durations[number]), number))
    return begun


def shares(config: StudyConfig, density: Sequence[float]) -> list[float]:
    """Return a density in the unit cube; what lies outside of the bounds lies outside of it."""
    return [
        (value - low) / (high - low)
        for (low, high), value in zip(config.search.bounds, density, strict=True)
    ]


def _in(config: StudyConfig, value: float) -> float:
    """Return a value of which more is better as the study's objective has it."""
    return value if config.direction == "maximize" else -value


def _name(
    config: StudyConfig,
    response: Response,
    trained: Sequence[Trained],
    budget: int,
    confirm_seeds: int,
    seed: int,
    named_by: Sequence[NamedBy],
) -> Iterator[tuple[NamedBy, float, float, bool | None]]:
    """Yield how the density is named, its regret, the bias of its value and the coverage."""
    searched = trained[:budget]
    best = max(searched, key=lambda each: each.value)
    if "observed" in named_by:
        yield "observed", -best.truth, best.value - best.truth, None
    if "model" in named_by:
        point, promised = _model_best(config, searched, seed)
        truth = response(shares(config, point))
        yield "model", -truth, promised - truth, None
    spent = CONFIRMED * confirm_seeds
    if "confirmed" not in named_by or not spent or budget <= spent + len(config.fixed_points()):
        return
    searched = trained[: budget - spent]
    best = max(searched, key=lambda each: each.value)
    point, _ = _model_best(config, searched, seed)
    candidates = [(response(shares(config, each)), each) for each in (point, best.density)]
    noise = np.random.default_rng([seed, 3, budget]).normal(size=(CONFIRMED, confirm_seeds))
    runs = [truth + noise[row] for row, (truth, _) in enumerate(candidates)]
    winner = int(runs[1].mean() > runs[0].mean())
    truth = candidates[winner][0]
    plain = response(shares(config, config.fixed_points()[PLAIN]))
    low, high = _t_interval(runs[winner] - (plain + noise[2]))
    yield (
        "confirmed",
        -truth,
        float(runs[winner].mean()) - truth,
        low <= truth - plain <= high,
    )


def _model_best(
    config: StudyConfig, searched: Sequence[Trained], seed: int
) -> tuple[tuple[float, ...], float]:
    """Return the maximum of the surrogate's mean, and the mean there."""
    model = fit(
        np.array([each.density for each in searched]),
        np.array([each.value for each in searched]),
        config.search.bounds,
        "maximize",
        seed,
    )
    point = tuple(float(each) for each in model.best_point())
    mean, _ = model.mean_sd(np.array([point]))
    return point, float(mean[0])


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _t_interval(differences: np.ndarray) -> tuple[float, float]:
    from scipy.stats import t

    # Two densities are compared with plain convolution, of which one is picked (Bonferroni).
    reach = float(t.ppf(1 - 0.025 / 2, len(differences) - 1)) * _standard_error(differences)
    return float(differences.mean()) - reach, float(differences.mean()) + reach
