"""The confirmation of a study: the best densities beside plain convolution, on the same seeds.

The selected density has the best mean validation score over fresh seeds; how much better it
is shows on the test set, by paired differences. Neither uses the run that selected it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wconv_jobs import catalog
from wconv_jobs.spec import Density
from wconv_sweep.evidence.candidates import OF_PLAIN
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.statistics import (
    FEWEST_SEEDS,
    Difference,
    Summary,
    paired_difference,
    summarize,
)
from wconv_sweep.storage.slot_plan import ABLATIONS
from wconv_sweep.storage.tables import SlotState, Stage
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.point import Point, Settings

NOT_TUNED = "plain convolution was not tuned, so no gain is claimed"
"""The conclusion of a study that has tuned weighted convolution alone."""


@dataclass(frozen=True)
class Arm:
    """One point of the confirmation, or of the ablation, with its runs."""

    label: str
    point: Point
    runs: Mapping[int, TrialRow]
    """Completed trials by seed index."""
    failed: int
    """Number of failed trials; shown, because a density may diverge."""

    @property
    def density(self) -> Density:
        """The density of its point."""
        return self.point.density

    @property
    def settings(self) -> Settings:
        """The other values of its point."""
        return self.point.settings

    def values(self, metric: str) -> dict[int, float]:
        """Return a metric by seed index; a run that has none is left out."""
        return {
            replicate: row.metrics[metric]
            for replicate, row in self.runs.items()
            if metric in row.metrics
        }

    def summary(self, metric: str) -> Summary | None:
        """Return mean and spread of a metric; None when no run has it."""
        values = self.values(metric)
        return summarize(list(values.values())) if values else None


@dataclass(frozen=True)
class Confirmation:
    """The results of the fresh seeds so far."""

    config: StudyConfig
    plains: list[Arm]
    """Plain convolution; where it is tuned, its candidates."""
    candidates: list[Arm]
    ablations: list[Arm]
    """Plain convolution with one half of the effect of the selected density."""
    complete: bool
    """Whether every trial of the confirmation has ended."""

    @property
    def selected(self) -> Arm | None:
        """The candidate with the best mean validation score; None before one has completed."""
        return self._best(self.candidates)

    @property
    def plain(self) -> Arm:
        """What the selected density is compared with: of plain convolution's candidates, too, the
        one with the best mean validation score; the first before one has completed."""
        return self._best(self.plains) or self.plains[0]

    def is_selected(self, arm: Arm) -> bool:
        """Return whether the claim is about an arm; plain convolution counts where it had several
        candidates."""
        return arm is self.selected or (len(self.plains) > 1 and arm is self.plain)

    def _best(self, arms: Sequence[Arm]) -> Arm | None:
        metric = self.config.objective.metric
        sign = 1 if self.config.direction == "maximize" else -1
        means = [
            (sign * summary.mean, -number, arm)
            for number, arm in enumerate(arms)
            if (summary := arm.summary(metric)) is not None
        ]
        return max(means, key=lambda each: each[:2])[2] if means else None

    @property
    def metric(self) -> str:
        """The metric that the claim is about: the objective on the test set.

        Of the validation set where a program of the user's gives none of the test set.
        """
        metric = self.config.objective.metric
        tested = f"test_{metric}"
        if self.config.trainer is None or tested in self.metrics():
            return tested
        return metric

    def difference(self, arm: Arm, metric: str) -> Difference | None:
        """Return an arm minus plain convolution.

        Each side selects one of its candidates, so the intervals of all pairs hold together.
        None when they share no seed, and where plain convolution was not tuned, but the arm was.
        """
        if not self.config.claims_gain:
            return None
        pairs = len(self.candidates) * len(self.plains)
        return paired_difference(
            arm.values(metric),
            self.plain.values(metric),
            comparisons=len(self.ablations) if arm.label in ABLATIONS else pairs,
            step=self._step(metric),
        )

    def metrics(self) -> list[str]:
        """Return the scores that runs have on the validation and the test set, by name."""
        found = {
            name
            for arm in [*self.plains, *self.candidates]
            for row in arm.runs.values()
            for name in row.metrics
        }
        known = {*catalog.names("metrics"), self.config.objective.metric}
        return sorted(name for name in found if name.removeprefix("test_") in known)

    def direction(self, metric: str) -> str:
        """Return whether more or less of a score is better."""
        name = metric.removeprefix("test_")
        if name == self.config.objective.metric:
            return self.config.direction
        return catalog.metric_facts(name).goal

    def _step(self, metric: str) -> float:
        """Return the step of a score of the test set that counts samples; 0 of any other."""
        samples = self.plain.values("test_samples").values()
        name = metric.removeprefix("test_")
        is_counted = (
            name != metric
            and name in catalog.names("metrics")
            and catalog.metric_facts(name).counts_samples
        )
        return 1 / max(samples) if samples and is_counted else 0.0

    @property
    def claim(self) -> str:
        """The conclusion about the selected density, in a sentence."""
        if not self.config.claims_gain:
            return NOT_TUNED + ("" if self.complete else "; confirmation under way")
        arm = self.selected
        difference = None if arm is None else self.difference(arm, self.metric)
        if difference is None or difference.seeds < FEWEST_SEEDS:
            if self.complete:
                return (
                    "nothing is shown: plain convolution and the density share fewer than "
                    f"{FEWEST_SEEDS} completed fresh seeds"
                )
            return "confirmation on fresh seeds under way; nothing is shown yet"
        verdict = difference.verdict(self.config.direction)
        end = "" if self.complete else "; confirmation under way"
        if arm is not None and arm.failed:
            end += f"; {arm.failed} of its runs failed"
        by = f"on {difference.seeds} fresh seeds, {100 * difference.level:.4g} % interval"
        if difference.interval is None:
            return (
                f"no difference to plain convolution shown on {difference.seeds} fresh seeds, "
                f"which all differ by the same: more seeds, or a larger test set, may tell{end}"
            )
        if verdict == "no difference shown":
            return f"no difference to plain convolution shown {by} includes zero{end}"
        return f"{verdict} than plain convolution {by} excludes zero{end}"


def confirmation_of(trials: Sequence[TrialRow], config: StudyConfig) -> Confirmation | None:
    """Return the confirmation of a study; None before it has opened."""
    rows = [row for row in trials if row.stage == Stage.CONFIRM]
    begun = [row for row in rows if row.label is not None and row.point is not None]
    if not begun:
        return None
    labels = list(dict.fromkeys(str(row.label) for row in begun))
    plains = [label for label in labels if label == PLAIN or label.startswith(OF_PLAIN)]
    open_ = (SlotState.CLOSED, SlotState.OPEN, SlotState.LEASED)
    ablation = [row for row in trials if row.stage == Stage.ABLATION and row.point is not None]
    return Confirmation(
        config,
        plains=[_arm(label, begun) for label in plains],
        candidates=[_arm(label, begun) for label in labels if label not in plains],
        ablations=[_arm(label, ablation) for label in ABLATIONS] if ablation else [],
        complete=not any(row.state in open_ for row in rows),
    )


def noise_of_baseline(trials: Sequence[TrialRow], metric: str) -> Summary | None:
    """Return the spread of the plain baseline over all its seeds, of search and confirmation.

    Where plain convolution is tuned, that is of the confirmation alone.
    """
    values = [
        row.metrics[metric]
        for row in trials
        if row.label == PLAIN
        and row.arm is None
        and row.state is SlotState.COMPLETE
        and metric in row.metrics
    ]
    return summarize(values) if values else None


def _arm(label: str, rows: Sequence[TrialRow]) -> Arm:
    own = [row for row in rows if row.label == label]
    runs = {row.replicate: row for row in own if row.state is SlotState.COMPLETE}
    failed = sum(row.state is SlotState.FAILED for row in own)
    return Arm(label, (own[0].point if own else None) or Point(()), runs, failed)
