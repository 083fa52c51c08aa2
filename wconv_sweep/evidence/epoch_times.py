"""How long an epoch takes with plain and with weighted convolutions, and whether they differ.

The time of a run depends on the machine and on its neighbors, so two runs are compared only under
equal conditions. Pairs of them are formed there, of one seed where both have it. The overhead of a
pair is the ratio of its times; over pairs, the mean of the logarithms with Student's t:

    d_k = ln(weighted_k / standard_k);  overhead = exp(mean d) - 1, likewise its interval's ends
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from wconv_sweep.evidence.conditions import Conditions
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.statistics import (
    FEWEST_SEEDS,
    Difference,
    Interval,
    Summary,
    paired_difference,
    summarize,
)

EPOCH_S = "epoch_s"
"""Name of the time of an epoch in the metrics of a completed trial."""
FEWEST_PAIRS = FEWEST_SEEDS
"""Of a conclusion."""

Verdict = Literal["slower", "faster", "none", "not known"]


@dataclass(frozen=True)
class EpochTimes:
    """The times of an epoch of both networks of a study."""

    standard: Summary | None
    """Of the runs in pairs, seconds; without a pair of all runs. None when no run has a time."""
    weighted: Summary | None
    pairs: int
    difference: Difference | None
    """Of the logarithms, over pairs; None without one."""
    unlike: tuple[str, ...]
    """Fields of `Conditions` that differ between runs."""
    unknown: int
    """Runs of unknown conditions, which are in no pair."""

    @property
    def verdict(self) -> Verdict:
        """Whether the weighted network takes longer: none where the interval includes zero.

        not known with fewer than `FEWEST_PAIRS`, and where all of them differ by the same.
        """
        found = self.difference
        if found is None or found.interval is None or found.seeds < FEWEST_PAIRS:
            return "not known"
        words: dict[str, Verdict] = {"better": "faster", "worse": "slower"}
        return words.get(found.verdict("minimize"), "none")

    @property
    def overhead_percent(self) -> float | None:
        """Extra time of an epoch with the weighted network; None where it is not known."""
        if self.difference is None or self.verdict == "not known":
            return None
        return _percent(self.difference.mean)

    @property
    def interval_percent(self) -> Interval | None:
        """Its interval of 95 %; None where it is not known."""
        if self.difference is None or self.verdict == "not known":
            return None
        assert self.difference.interval is not None
        low, high = self.difference.interval
        return _percent(low), _percent(high)


def epoch_times(
    standard: Sequence[TrialRow],
    weighted: Sequence[TrialRow],
    conditions: Mapping[int, Conditions],
) -> EpochTimes:
    """Compare the times of completed runs; those without a time are left out.

    Args:
        standard: runs of plain convolution.
        weighted: runs of a density.
        conditions: of runs, by position of the slot; a run that is missing is in no pair.
    """
    runs = _timed(standard), _timed(weighted)
    pairs = list(_pairs(*runs, conditions))
    shown = ([plain for plain, _ in pairs], [other for _, other in pairs]) if pairs else runs
    of_all = [*runs[0], *runs[1]]
    known = [conditions[row.position] for row in of_all if row.position in conditions]
    return EpochTimes(
        standard=_summary(shown[0]),
        weighted=_summary(shown[1]),
        pairs=len(pairs),
        difference=paired_difference(
            {number: math.log(_time(other)) for number, (_, other) in enumerate(pairs)},
            {number: math.log(_time(plain)) for number, (plain, _) in enumerate(pairs)},
        ),
        unlike=tuple(
            field.name
            for field in fields(Conditions)
            if len({getattr(each, field.name) for each in known}) > 1
        ),
        unknown=len(of_all) - len(known),
    )


def _timed(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.metrics.get(EPOCH_S)]


def _pairs(
    standard: Sequence[TrialRow],
    weighted: Sequence[TrialRow],
    conditions: Mapping[int, Conditions],
) -> Iterator[tuple[TrialRow, TrialRow]]:
    """Yield runs of equal conditions, each once: first those of one seed, then in their order."""
    for place in dict.fromkeys(conditions.values()):
        here, there = (
            {row.replicate: row for row in rows if conditions.get(row.position) == place}
            for rows in (standard, weighted)
        )
        shared = sorted(here.keys() & there.keys())
        yield from ((here.pop(seed), there.pop(seed)) for seed in shared)
        yield from zip(here.values(), there.values(), strict=False)


def _summary(rows: Sequence[TrialRow]) -> Summary | None:
    return summarize([_time(row) for row in rows]) if rows else None


def _time(row: TrialRow) -> float:
    return row.metrics[EPOCH_S]


def _percent(logarithm: float) -> float:
    return 100 * math.expm1(logarithm)
