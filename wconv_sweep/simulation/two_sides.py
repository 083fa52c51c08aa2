"""A search of more than the density on synthetic responses: what its claim will be worth.

Plain and weighted convolution have responses of their own, whose best values of the other keys lie
apart. The search tunes both, or weighted convolution alone, as the study says; its confirmation is
drawn on fresh seeds. Where only one side is tuned, the other stays at the study's own values: the
gain that such a comparison shows is false. All is in standard deviations of the seed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import CategoricalDistribution
from threadpoolctl import threadpool_limits

from wconv_sweep.evidence.candidates import Candidates, choose_candidates
from wconv_sweep.evidence.statistics import paired_difference
from wconv_sweep.simulation.replay import standard_error
from wconv_sweep.simulation.surfaces import Surface, surface
from wconv_sweep.simulation.synthetic_trials import planned_studies, rows_of, train
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.point import Point
from wconv_sweep.study.search_space import distributions_of, params_of, share_of

GAINS = (0.0, 1.0, 2.0)
"""True differences of the two optima for which it is counted how often a gain is claimed."""
APART = 0.25
"""Of the range: how far the best values of a key lie apart at most, for the two sides."""
OTHER_CHOICE = 0.3
"""Distance of any other choice from the best one, as a share of a range."""
DRAWS = 25
"""Sets of fresh seeds on which each confirmation is drawn: it costs nothing beside the search."""

BOTH, WEIGHTED_ALONE = "both sides", "weighted alone"


@dataclass(frozen=True)
class TwoSides:
    """The responses of plain and weighted convolution; each is 0 at its own optimum."""

    config: StudyConfig
    plain: Surface
    """Over the keys in `search.also`."""
    weighted: Surface
    """Over these and the density."""

    def __call__(self, point: Point) -> float:
        """Return the mean over all seeds at a point, below the optimum of its own side."""
        params, space = params_of(self.config, point), distributions_of(self.config)
        best = self.plain if point.is_plain else self.weighted
        keys = [*self.config.search.also, *space]  # the keys first: they matter most in a bowl
        place = []
        for name, optimum in zip(dict.fromkeys(keys), best.optimum, strict=False):
            one = space[name]
            share = share_of(one, params[name])
            if isinstance(one, CategoricalDistribution):
                is_best = int(share) == int(optimum * len(one.choices))
                share = optimum if is_best else optimum + OTHER_CHOICE
            place.append(share)
        return best(place)


def two_sides(config: StudyConfig, shape: str, seed: int) -> TwoSides:
    """Return responses of one shape, whose optima lie apart by up to `APART` in each key."""
    keys = len(config.search.also)
    plain = surface(shape, keys, seed)
    apart = np.random.default_rng([seed, 5]).uniform(-APART, APART, keys)
    moved = (
        min(max(best + by, 0.0), 0.999) for best, by in zip(plain.optimum, apart, strict=True)
    )
    density = surface(shape, len(config.search.bounds), seed + 1).optimum
    return TwoSides(config, plain, Surface(shape, (*moved, *density)))


@dataclass(frozen=True)
class SidesOutcome:
    """The outcome of one synthetic study."""

    workers: int
    trials: int
    """Of the budget, confirmation included."""
    tuned: str
    """`BOTH` or `WEIGHTED_ALONE`."""
    plain_regret: float
    """Distance of plain convolution, as it is compared with, from its optimum."""
    weighted_regret: float
    """Distance of the selected density and the values found with it from their optimum."""
    measured: float
    """Mean difference where the true one is 0."""
    held: float
    """Share of the intervals that hold the true difference of the optima."""
    claimed: tuple[float, ...]
    """Share that claims "better", for each of `GAINS`."""


@dataclass(frozen=True)
class SidesCell:
    """Means of such outcomes over studies and surfaces."""

    workers: int
    trials: int
    tuned: str
    studies: int
    plain_regret: float
    weighted_regret: float
    measured: float
    held: float
    held_error: float
    """Standard error of the mean over studies."""
    claimed: tuple[float, ...]


def simulate_sides(
    config: StudyConfig,
    *,
    budgets: Sequence[int],
    workers: Sequence[int],
    repeats: int,
    on_study: Callable[[int, int], None] = lambda done, total: None,
) -> list[SidesOutcome]:
    """Run synthetic studies to their ends, and return their outcomes.

    Args:
        config: the study, which has `search.also` and a confirmation.
        budgets: trials, confirmation included.
        workers: trials at the same time.
        repeats: studies of each surface and number of workers, each with optima of its own.
        on_study: gets how many studies are done, of how many.
    """
    found: list[SidesOutcome] = []
    plan = planned_studies(config, workers, repeats)
    for done, (shape, count, seed) in enumerate(plan, start=1):
        sides = two_sides(config, shape, seed)
        searched = [budget - config.confirm_trials for budget in budgets]
        # The matrices are small: threads that wait for each other take three times as long.
        with threadpool_limits(1):
            trained = train(config, sides, count, max(searched), seed)
            for budget, trials in zip(budgets, searched, strict=True):
                chosen = choose_candidates(rows_of(config, trained[:trials]), config)
                random = np.random.default_rng([seed, 3, budget])
                found += outcomes_of(config, sides, chosen, random, count, budget)
        on_study(done, len(plan))
    return found


def fewest_trials(config: StudyConfig) -> int:
    """Return the smallest budget with a proposal for each side, confirmation included."""
    return config.confirm_trials + (len(config.references()) + 2) * config.search.seeds


def outcomes_of(
    config: StudyConfig,
    truth_at: Callable[[Point], float],
    chosen: Candidates,
    random: np.random.Generator,
    workers: int = 1,
    trials: int = 0,
) -> list[SidesOutcome]:
    """Return what the confirmation of a search shows, none where it compares nothing.

    That is of both sides where both are tuned, and of weighted convolution beside plain
    convolution at the study's own values.

    Args:
        config: the study.
        truth_at: the mean over all seeds at a point; 0 at the optimum of its side.
        chosen: by the search.
        random: draws the fresh seeds.
        workers: of the search; told in the outcome.
        trials: of the study; told in the outcome.
    """
    if not chosen.weighted:
        return []
    own = {PLAIN: config.reference_points()[PLAIN]}
    compared = {BOTH: chosen.plain} if config.has_two_arms else {}
    return [
        _confirmed(
            [truth_at(point) for point in plain.values()],
            [truth_at(point) for point in chosen.weighted.values()],
            config.confirm_trials,
            random,
            (workers, trials, tuned),
        )
        for tuned, plain in (compared | {WEIGHTED_ALONE: own}).items()
    ]


def _confirmed(
    plain: Sequence[float],
    weighted: Sequence[float],
    slots: int,
    random: np.random.Generator,
    told: tuple[int, int, str],
) -> SidesOutcome:
    seeds = slots // (len(plain) + len(weighted))
    regrets, measured, held, lows = [], [], [], []
    for _ in range(DRAWS):
        sides = [
            np.array(side)[:, None] + random.normal(size=(len(side), seeds))
            for side in (plain, weighted)
        ]
        of_plain, of_weighted = (int(side.mean(axis=1).argmax()) for side in sides)
        difference = paired_difference(
            dict(enumerate(sides[1][of_weighted].tolist())),
            dict(enumerate(sides[0][of_plain].tolist())),
            comparisons=len(plain) * len(weighted),
        )
        assert difference is not None
        assert difference.interval is not None
        low, high = difference.interval
        regrets.append((-plain[of_plain], -weighted[of_weighted]))
        measured.append(difference.mean)
        held.append(low <= 0 <= high)
        lows.append(low)
    # Another true difference moves the interval, and changes nothing else.
    claimed = tuple(float(np.mean([low + gain > 0 for low in lows])) for gain in GAINS)
    workers, trials, tuned = told
    plain_regret, weighted_regret = (float(each) for each in np.mean(regrets, axis=0))
    return SidesOutcome(
        workers,
        trials,
        tuned,
        plain_regret,
        weighted_regret,
        float(np.mean(measured)),
        float(np.mean(held)),
        claimed,
    )


def sides_cells(outcomes: Iterable[SidesOutcome]) -> list[SidesCell]:
    """Return the means over surfaces and repeats, by workers, budget and what is tuned."""
    grouped: dict[tuple[int, int, str], list[SidesOutcome]] = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.workers, outcome.trials, outcome.tuned].append(outcome)
    return [
        SidesCell(
            *key,
            studies=len(group),
            plain_regret=float(np.mean([each.plain_regret for each in group])),
            weighted_regret=float(np.mean([each.weighted_regret for each in group])),
            measured=float(np.mean([each.measured for each in group])),
            held=float(np.mean([each.held for each in group])),
            held_error=standard_error([each.held for each in group]),
            claimed=tuple(float(each) for each in np.mean([one.claimed for one in group], axis=0)),
        )
        for key, group in sorted(grouped.items())
    ]
