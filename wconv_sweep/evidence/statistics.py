"""Statistics over seeds: mean, spread, and the paired difference to plain convolution.

A single run differs from the next by its seed. So a density is called better only if the
interval of the difference, over seeds that both have been trained with, leaves out zero. Two
differences tell nothing of their spread, and neither do equal ones: two networks that disagree on
a few test images often have them by chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from wconv_sweep.evidence.student import student_quantile

LEVEL = 0.95
"""Coverage of all intervals of one study together."""
RESAMPLES = 2000
"""Of the bootstrap."""
FEWEST_SEEDS = 3
"""Of a conclusion."""
_ROUNDING = 1e-12
"""Differences are equal when they lie closer than this share of the scores: 0.9512 - 0.951 and
0.9377 - 0.9375 part in the last bits."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one metric over seeds."""

    mean: float
    sd: float | None
    """Standard deviation from seed to seed, n - 1 in the denominator; None for one seed."""
    seeds: int


@dataclass(frozen=True)
class Difference:
    """A density minus plain convolution, seed by seed."""

    mean: float
    sd: float | None
    """Of the difference from seed to seed; None for one seed."""
    seeds: int
    level: float
    """Of the intervals."""
    interval: Interval | None
    """By Student's t; None for one seed and for differences that are all equal. The words "better"
    and "worse" rest on this one."""
    by_seed: tuple[float, ...]
    """The differences themselves."""

    def bootstrap(self, seed: int = 0) -> Interval | None:
        """Return the interval by resampling the seeds, bias-corrected and accelerated.

        It assumes no distribution, but is too narrow for few seeds. None for fewer than three,
        for differences that are all equal, and where one is not finite.

        Args:
            seed: of the resampling.
        """
        if len(self.by_seed) < 3 or len(set(self.by_seed)) == 1:
            return None
        if not all(map(math.isfinite, self.by_seed)):
            return None
        # Imported here: it takes half a second.
        import numpy as np
        from scipy.stats import bootstrap

        # Near 1, which changes no digit: their cubes, of which it makes use, may not be numbers.
        _, exponent = math.frexp(max(map(abs, self.by_seed)))
        found = bootstrap(
            (np.ldexp(self.by_seed, -exponent),),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=self.level,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
        low, high = found.confidence_interval
        return math.ldexp(low, exponent), math.ldexp(high, exponent)

    def verdict(self, direction: str) -> Literal["better", "worse", "no difference shown"]:
        """Return the conclusion that the interval allows; none from fewer than `FEWEST_SEEDS`.

        Args:
            direction: of the metric, maximize or minimize.
        """
        if self.seeds < FEWEST_SEEDS:
            return "no difference shown"
        # Where an end is not a number, it is on neither side of zero.
        if self.interval is None or not (self.interval[0] > 0 or self.interval[1] < 0):
            return "no difference shown"
        return "better" if (self.mean > 0) == (direction == "maximize") else "worse"


def summarize(values: Sequence[float]) -> Summary:
    """Return mean and spread of at least one value; inf or nan where they overflow.

    A score may be finite and yet that of a network that has exploded.
    """
    number = len(values)
    mean = _sum(values) / number
    if number == 1:
        return Summary(mean, None, number)
    # Unlike a sum of squares, this is finite wherever the spread is.
    distance = math.hypot(*(value - mean for value in values))
    return Summary(mean, distance / math.sqrt(number - 1), number)


def paired_difference(
    values: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    comparisons: int = 1,
    step: float = 0.0,
) -> Difference | None:
    """Compare a density with plain convolution over the seeds that both have.

    d_s = value_s - baseline_s;  interval = mean d +- t(n - 1) * sqrt((sd d)^2 + step^2 / 6) /
    sqrt(n). Trained with the same initial weights, data order and noise, the two share a part of
    their randomness, which the difference cancels. A score that goes in steps is rounded, which
    adds step^2 / 12 to the variance of each.

    Args:
        values: of the density, by seed.
        baseline: of plain convolution, by seed.
        comparisons: densities compared with the same baseline. All intervals hold together with a
            probability of at least `LEVEL` (Bonferroni), so that the best may be picked from them.
        step: of the score; 0 where it has none.

    Returns:
        None when they share no seed.
    """
    shared = sorted(values.keys() & baseline.keys())
    if not shared:
        return None
    by_seed = [values[each] - baseline[each] for each in shared]
    largest = max(max(abs(values[each]), abs(baseline[each])) for each in shared)
    if max(by_seed) - min(by_seed) <= _ROUNDING * largest < math.inf:
        by_seed = [by_seed[0]] * len(by_seed)
    level = 1 - (1 - LEVEL) / comparisons
    of_all = summarize(by_seed)
    return Difference(
        mean=of_all.mean,
        sd=of_all.sd,
        seeds=of_all.seeds,
        level=level,
        interval=_student(of_all, level, step),
        by_seed=tuple(by_seed),
    )


def _sum(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # overflow, and inf beside -inf
        return sum(values)


def _student(of_all: Summary, level: float, step: float) -> Interval | None:
    if not of_all.sd:
        return None
    sd = math.hypot(of_all.sd, step / math.sqrt(6))
    half = student_quantile(of_all.seeds - 1, level) * sd / math.sqrt(of_all.seeds)
    return of_all.mean - half, of_all.mean + half
