"""The rows of a confirmation: what every table of its scores shows, and how people read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wconv_jobs.seeding import derive_seed
from wconv_sweep.amounts import amount, density_text, interval, title
from wconv_sweep.evidence.candidates import OF_PLAIN
from wconv_sweep.evidence.confirmation import Arm, Confirmation
from wconv_sweep.evidence.statistics import Interval
from wconv_sweep.study.config import PLAIN
from wconv_sweep.study.point import Settings

Column = Literal[
    "metric",
    "network",
    "density",
    "seeds",
    "mean",
    "sd",
    "difference",
    "level",
    "interval",
    "bootstrap interval",
    "verdict",
]

_NAMES = {
    PLAIN: "plain convolution",
    "initial weights": "initial weights alone",
    "gradient": "gradient alone",
}


@dataclass(frozen=True, kw_only=True)
class ScoreDifference:
    """A network minus plain convolution, seed by seed; see `statistics.Difference`."""

    mean: float
    sd: float | None
    seeds: int
    level: float
    """Of the intervals."""
    interval: Interval | None
    """By Student's t."""
    bootstrap: Interval | None
    """By resampling; None also where nobody asked for it."""
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One score of one network over fresh seeds."""

    metric: str
    own_unit: str | None
    """That the study gives the metric."""
    label: str
    is_selected: bool
    """Whether the claim is about this density; or this plain convolution, where several were."""
    density: tuple[float, ...]
    settings: Settings
    """What was searched together with it."""
    seeds: int
    """Runs that have the score."""
    failed: int
    """Runs of the network that failed."""
    mean: float | None
    """None where no run has the score."""
    sd: float | None
    difference: ScoreDifference | None
    """None of plain convolution itself, and where the two share no seed."""


def score_rows(
    confirmation: Confirmation,
    metrics: Sequence[str],
    arms: Sequence[Arm],
    *,
    bootstrap: bool = False,
) -> list[ScoreRow]:
    """Return a row for each metric and arm, also where no run has the score yet.

    Args:
        confirmation: of a study.
        metrics: names of scores.
        arms: of the confirmation.
        bootstrap: also resample the seeds, which takes a second.
    """
    return [_row(confirmation, metric, arm, bootstrap) for metric in metrics for arm in arms]


def cell(row: ScoreRow, column: Column, *, without_difference: str = "-") -> str:
    """Return what people read in a column.

    Args:
        row: of a confirmation.
        column: its heading.
        without_difference: what stands where a row is compared with nothing.
    """
    if column == "metric":
        return title(row.metric).removesuffix(" on the test set")
    if column == "network":
        if row.label.startswith(OF_PLAIN):
            return f"{_NAMES[PLAIN]}, {row.label.removeprefix(OF_PLAIN)}"
        return _NAMES.get(row.label, row.label)
    if column == "density":
        return density_text(row.density, row.settings)
    if column == "seeds":
        return str(row.seeds)
    if column in ("mean", "sd"):
        return amount(row.metric, row.mean if column == "mean" else row.sd, row.own_unit)
    difference = row.difference
    if difference is None:
        return without_difference
    if column == "difference":
        return amount(row.metric, difference.mean, row.own_unit, signed=True)
    if column == "level":
        return level_text(difference)
    if column == "verdict":
        return difference.verdict
    bounds = difference.interval if column == "interval" else difference.bootstrap
    return interval(row.metric, bounds, row.own_unit)


def level_text(difference: ScoreDifference) -> str:
    """Return the level of the intervals, in percent."""
    return f"{100 * difference.level:.4g} %"


def _row(confirmation: Confirmation, metric: str, arm: Arm, bootstrap: bool) -> ScoreRow:
    summary = arm.summary(metric)
    return ScoreRow(
        metric=metric,
        own_unit=confirmation.config.own_unit(metric),
        label=arm.label,
        is_selected=confirmation.is_selected(arm),
        density=arm.density,
        settings=arm.settings,
        seeds=summary.seeds if summary else 0,
        failed=arm.failed,
        mean=summary.mean if summary else None,
        sd=summary.sd if summary else None,
        difference=_difference(confirmation, metric, arm, bootstrap),
    )


def _difference(
    confirmation: Confirmation, metric: str, arm: Arm, bootstrap: bool
) -> ScoreDifference | None:
    found = (
        None
        if any(arm is each for each in confirmation.plains)
        else confirmation.difference(arm, metric)
    )
    if found is None:
        return None
    seed = derive_seed(confirmation.config.seed, "bootstrap", arm.label, metric)
    return ScoreDifference(
        mean=found.mean,
        sd=found.sd,
        seeds=found.seeds,
        level=found.level,
        interval=found.interval,
        bootstrap=found.bootstrap(seed) if bootstrap else None,
        verdict=found.verdict(confirmation.direction(metric)),
    )
