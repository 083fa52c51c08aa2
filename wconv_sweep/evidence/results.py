"""The result of a study: the best density beside plain convolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from wconv_jobs.spec import Density
from wconv_sweep.storage.tables import SEARCHING, SlotState
from wconv_sweep.study.config import PLAIN
from wconv_sweep.study.point import Point, SearchArm, Settings


@dataclass(frozen=True)
class TrialRow:
    """One slot as a reader of results sees it."""

    position: int
    stage: str
    label: str | None
    state: SlotState
    point: Point | None
    """What it trains; None until it is known."""
    trial: int | None
    attempt: int
    epoch: int
    value: float | None
    """The objective after `epoch` epochs."""
    metrics: dict[str, float]
    provenance: dict[str, Any]
    reason: str | None
    lease_until: float | None
    """When the agent that holds the slot will count as dead, on the database's clock."""
    gpu_hours: float = 0.0
    """Of all its attempts."""
    replicate: int = 0
    """Seeds are derived from it."""
    arm: SearchArm | None = None
    """Of a trial of a search that has two."""

    @property
    def density(self) -> Density | None:
        """The density of its point."""
        return None if self.point is None else self.point.density

    @property
    def settings(self) -> Settings:
        """The other values of its point."""
        return () if self.point is None else self.point.settings

    @property
    def called(self) -> str:
        """What it is for: its label, its arm, both, or nothing; one word where they are equal."""
        return ", ".join(dict.fromkeys(str(each) for each in (self.label, self.arm) if each))


@dataclass(frozen=True)
class StudyResult:
    """The best density of a study so far, by one training run each."""

    best: TrialRow
    plain: TrialRow | None
    is_compared: bool = True
    """Whether both were treated alike, so that their difference means something."""

    @property
    def difference(self) -> float | None:
        """Objective of the best minus that of plain convolution, on the validation set."""
        if not self.is_compared:
            return None
        return _difference(self.best.value, self.plain.value if self.plain else None)

    def test_difference(self, metric: str) -> float | None:
        """Return the difference of a metric on the test set."""
        if not self.is_compared:
            return None
        name = f"test_{metric}"
        plain = self.plain.metrics.get(name) if self.plain else None
        return _difference(self.best.metrics.get(name), plain)


def best_of(
    trials: Sequence[TrialRow], direction: str, *, is_compared: bool = True
) -> StudyResult | None:
    """Return the result of the completed trials of the search; None when there are none.

    The best is the best observed validation value. It is one run of one seed, so it is optimistic:
    the more trials, the more of them are lucky. The plain run is the one of its seed, or the first
    if that one has not completed; in a search of two arms it is the best of its own.

    Args:
        trials: of a study.
        direction: of its objective.
        is_compared: whether plain convolution was treated like the densities.
    """
    completed = [
        row
        for row in trials
        if row.state is SlotState.COMPLETE and row.value is not None and row.stage in SEARCHING
    ]
    if not completed:
        return None
    sign = 1 if direction == "maximize" else -1

    def rank(row: TrialRow) -> tuple[float, int]:
        return sign * (row.value or 0.0), -row.position

    best = max(completed, key=rank)
    tuned = [row for row in completed if row.arm is SearchArm.PLAIN]
    if tuned:
        return StudyResult(best, max(tuned, key=rank))
    plains = [row for row in completed if row.label == PLAIN]
    plain = next((row for row in plains if row.replicate == best.replicate), None)
    return StudyResult(best, plain or next(iter(plains), None), is_compared)


def trial_row_of(slot: Row[Any], gpu_hours: float = 0.0) -> TrialRow:
    """Return a row of the table of slots as a reader of results sees it."""
    return TrialRow(
        position=slot.position,
        stage=slot.stage,
        label=slot.label,
        state=SlotState(slot.state),
        point=slot.point,
        trial=slot.trial,
        attempt=slot.attempt,
        epoch=slot.epoch,
        value=slot.value,
        metrics=slot.metrics or {},
        provenance=slot.provenance or {},
        reason=slot.reason,
        lease_until=slot.lease_until,
        gpu_hours=gpu_hours,
        replicate=slot.replicate,
        arm=SearchArm(slot.arm) if slot.arm else None,
    )


def _difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
