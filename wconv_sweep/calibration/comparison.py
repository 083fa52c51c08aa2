"""What the measurements of a calibration say: trials per hour, ratios with their spread, costs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from wconv_sweep.clusters.billing import hourly_price
from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.evidence.calibration_record import (
    Amp,
    Calibration,
    MeasuredShape,
    Shape,
    shape_of,
    trial_s,
)
from wconv_sweep.study.config import StudyConfig


@dataclass(frozen=True)
class Ratio:
    """A ratio of two shapes, round by round."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one shape gives; medians over its rounds."""

    shape: Shape
    steps_per_s: float
    """Of one trial."""
    trial_s: float
    """To its last epoch, without its test."""
    trials_per_h: float
    """Of the node, with as many side by side as the shape says."""
    ratio: Ratio
    """Of the trials per hour to those of the shape that all are held against."""
    rank_memory_bytes: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All shapes against one of them."""

    rows: tuple[Row, ...]
    """By ranks, trials at once, memory format and precision."""
    base: Row
    """The shape of the study as its file has it, or the first one where that was not measured."""

    def best(self, amp: Amp) -> Row | None:
        """Return the shape of a precision with the most trials per hour.

        Among those of the base's precision it is the base unless another one was faster in every
        round: a difference within the spread is none. None: nothing was measured with it.
        """
        rows = [row for row in self.rows if row.shape.amp == amp]
        if self.base in rows:
            rows = [self.base, *(row for row in rows if row.ratio.lowest > 1)]
        return max(rows, key=lambda row: row.ratio.median, default=None)


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """The expected cost of all trials of a study in one shape."""

    node_hours: float
    hours: float
    """GPU-hours of all ranks, or core-hours where they have no GPU."""
    unit: str
    """Of `hours`."""
    billed: float | None
    """By the site's formula; None: unknown."""
    billed_unit: str | None


def compare(found: Calibration, config: StudyConfig, lanes: int | None) -> Comparison:
    """Return what was measured as a table.

    Args:
        found: the measurements.
        config: of the study.
        lanes: trials that pilots train side by side; None: as many as there is room for.
    """
    base = _base(found.measured, config, lanes)
    epochs, steps = config.recipe.epochs, found.steps_per_epoch
    trials_per_h = {
        each.shape: [
            each.shape.lanes * 3600 / trial_s(measured, steps, epochs) for measured in each.rounds
        ]
        for each in found.measured
    }
    rows = {
        each.shape: Row(
            shape=each.shape,
            steps_per_s=statistics.median(measured.steps_per_s for measured in each.rounds),
            trial_s=statistics.median(
                trial_s(measured, steps, epochs) for measured in each.rounds
            ),
            trials_per_h=statistics.median(trials_per_h[each.shape]),
            ratio=_ratio(trials_per_h[each.shape], trials_per_h[base]),
            rank_memory_bytes=each.rank_memory_bytes,
        )
        for each in found.measured
    }
    order = sorted(rows, key=lambda shape: (shape.ranks, shape.lanes))
    return Comparison(rows=tuple(rows[shape] for shape in order), base=rows[base])


def study_cost(
    row: Row,
    config: StudyConfig,
    *,
    on_gpus: bool,
    profile: SlurmProfile | None = None,
    pilots: PilotShape | None = None,
) -> StudyCost:
    """Return what all trials of a study cost, each of them trained to its last epoch.

    Args:
        row: the shape.
        config: of the study.
        on_gpus: whether each rank has a GPU.
        profile: of the site; None: nothing is billed.
        pilots: at the site.
    """
    trials = config.budget.trials
    node_hours = trials / row.trials_per_h
    each = 1 / row.shape.per_gpu if on_gpus else config.trial.threads_per_rank
    price = hourly_price(profile, pilots) if profile and pilots else None
    return StudyCost(
        node_hours=node_hours,
        hours=trials * row.trial_s / 3600 * row.shape.ranks * each,
        unit="GPU-hours" if on_gpus else "core-hours",
        billed=None if price is None else node_hours * price,
        billed_unit=profile.billing.unit if profile and profile.billing else None,
    )


def _base(measured: Sequence[MeasuredShape], config: StudyConfig, lanes: int | None) -> Shape:
    """Return the shape that pilots train the study in, or else the first one."""
    present = [each.shape for each in measured if each.shape == shape_of(config, each.shape.lanes)]
    fitting = [shape for shape in present if lanes is None or shape.lanes <= lanes]
    return max(fitting or present or [measured[0].shape], key=lambda shape: shape.lanes)


def _ratio(values: Sequence[float], base: Sequence[float]) -> Ratio:
    ratios = [value / other for value, other in zip(values, base, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))
