"""What a study will cost: what is left of it, times what its trials have cost so far."""

import contextlib
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, func, select

from wconv_sweep.evidence.calibration_record import CalibratedTrial, calibrated_trials
from wconv_sweep.evidence.trial_cost import (
    MeasuredTrial,
    costs_the_same,
    epochs_left,
    measured_trials,
)
from wconv_sweep.storage.open_storage import has_storage, open_storage
from wconv_sweep.storage.slot_plan import plan_slots
from wconv_sweep.storage.tables import SLOTS, STUDIES, SlotState, Stage
from wconv_sweep.study.config import StudyConfig, TrialShape

ENOUGH = 3
"""Measured trials of a stage from which they speak for it; those of all stages do before."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """The trials of one stage that are left."""

    stage: Stage
    left: float
    """In whole trials."""
    trial_h: float
    """Of one trial: the median of those measured, or their mean where some were pruned."""
    lowest_h: float
    highest_h: float


@dataclass(frozen=True, kw_only=True)
class ExpectedCost:
    """The expected cost of what is left of a study."""

    unit: str
    """`GPU-hours`, a GPU or its share for each rank, or `core-hours` where ranks have no GPUs."""
    stages: tuple[StageCost, ...]
    measured: int
    """Trials that it was measured on."""
    studies: tuple[str, ...]
    """That these belong to."""
    device: str | None
    """Kind of GPU or CPU that they ran on; None: none of them has completed."""
    others: int
    """Trials on other kinds, which are left out."""
    calibrated: CalibratedTrial | None = None
    """What `wconv-sweep calibrate` has found, where no trial was measured."""
    searched: int = 0
    """How many of the measured trials are proposals of a search."""

    @property
    def hours(self) -> float:
        """Of all trials that are left, in `unit`."""
        return sum(each.left * each.trial_h for each in self.stages)

    @property
    def has_seen_the_range(self) -> bool:
        """Whether enough proposals were measured to tell what the cheapest and dearest cost."""
        return self.searched >= ENOUGH

    def between_h(self, least: float, most: float) -> tuple[float, float]:
        """Return the hours of all trials that are left if each is as cheap as a search may propose
        them, and if each is as dear.

        As the cheapest and the dearest that were measured, see `has_seen_the_range`; before, by
        their operations.

        Args:
            least, most: operations of the cheapest and of the dearest trial, as a multiple of
                those at the study's own values.
        """
        low = high = 0.0
        for each in self.stages:
            if self.has_seen_the_range:
                low, high = low + each.left * each.lowest_h, high + each.left * each.highest_h
                continue
            # Reference densities are trained at the study's own values.
            is_own = each.stage is Stage.REFERENCE
            hours = each.left * each.trial_h
            low, high = (
                low + hours * (1 if is_own else least),
                high + hours * (1 if is_own else most),
            )
        return low, high

    def one_by_one_h(self, trial: TrialShape) -> float:
        """Return how long the trials take one after the other, hours.

        Args:
            trial: their shape, all alike.
        """
        if self.unit == "GPU-hours":
            return self.hours / trial.gpus
        return self.hours / (trial.ranks * trial.threads_per_rank)


def read_expected_cost(
    config: StudyConfig,
    url: URL,
    *,
    runs: Path | None = None,
    ablation_trials: int = 0,
    on_gpus: bool | None = None,
    cluster: str | None = None,
) -> ExpectedCost | None:
    """Return the expected cost of a study, launched or not; None: nothing was measured.

    Args:
        config: of the study.
        url: of the storage; it need not exist.
        runs: folder of all runs, whose calibrations count where no trial has run; None: none do.
        ablation_trials: to add unless the study has them.
        on_gpus: whether its ranks will have GPUs; None: as those that were measured.
        cluster: the profile by its own name; None: calibrations of all of them count.

    Raises:
        StorageError: the storage cannot be used.
    """
    trials: list[MeasuredTrial] = []
    left = _planned(config, ablation_trials)
    if has_storage(url):
        with contextlib.closing(open_storage(url)) as storage, storage.read() as connection:
            trials = measured_trials(connection, storage, config)
            left = trials_left(connection, config, ablation_trials)
    known = expected_cost([trial for trial in trials if on_gpus in (None, trial.on_gpus)], left)
    calibrated = (
        trial
        for trial in (calibrated_trials(runs, config) if runs else ())
        if on_gpus in (None, trial.on_gpus) and cluster in (None, trial.cluster)
    )
    return known or next((_calibrated(trial, left) for trial in calibrated), None)


def trials_left(
    connection: Connection, config: StudyConfig, ablation_trials: int
) -> dict[Stage, float]:
    """Return what is left of a study by stage, in whole trials.

    Of one that was launched, that is also what a larger budget adds.
    """
    stored = connection.scalar(select(STUDIES.c.config).where(STUDIES.c.study == config.study))
    if stored is None or not costs_the_same(stored, config):
        return _planned(config, ablation_trials)
    left = epochs_left(connection, config.study, config.recipe.epochs)
    rows = connection.execute(
        select(SLOTS.c.stage, func.count().label("slots"))
        .where(SLOTS.c.study == config.study)
        .group_by(SLOTS.c.stage)
    )
    slots = Counter({row.stage: row.slots for row in rows})
    added = config.budget.trials - (slots.total() - slots[Stage.ABLATION])
    if added > 0:
        left[Stage.SEARCH] = left.get(Stage.SEARCH, 0.0) + added
    if ablation_trials and not slots[Stage.ABLATION]:
        left[Stage.ABLATION] = float(ablation_trials)
    return left


def expected_cost(
    trials: Sequence[MeasuredTrial], left: Mapping[Stage, float]
) -> ExpectedCost | None:
    """Return what trials that are left cost, by those that were measured; None without any.

    Of several kinds of GPUs the one with most trials counts. Trials that have not ended count
    only if none has.
    """
    ended = [trial for trial in trials if trial.state in (SlotState.COMPLETE, SlotState.PRUNED)]
    known = Counter(
        (trial.on_gpus, trial.device) for trial in ended if trial.state is SlotState.COMPLETE
    )
    if known:
        (on_gpus, device), _ = known.most_common(1)[0]
        # A pruned trial has not named its device.
        chosen = [
            trial for trial in ended if trial.on_gpus == on_gpus and trial.device in (device, None)
        ]
    else:
        on_gpus, device = any(trial.on_gpus for trial in trials), None
        ended = [trial for trial in trials if trial.state is not SlotState.PRUNED]
        chosen = [trial for trial in ended if trial.on_gpus == on_gpus]
    if not chosen:
        return None
    return ExpectedCost(
        unit="GPU-hours" if on_gpus else "core-hours",
        stages=tuple(
            _stage_cost(stage, left[stage], chosen) for stage in Stage if left.get(stage)
        ),
        measured=len(chosen),
        studies=tuple(sorted({trial.study for trial in chosen})),
        device=device,
        others=len(ended) - len(chosen),
        searched=sum(trial.stage is Stage.SEARCH for trial in chosen),
    )


def _planned(config: StudyConfig, ablation_trials: int) -> dict[Stage, float]:
    """Return the trials of a study that has not begun, by stage."""
    slots = Counter(slot.stage for slot in plan_slots(config))
    ablation = {Stage.ABLATION: float(ablation_trials)} if ablation_trials else {}
    return {stage: float(count) for stage, count in slots.items()} | ablation


def _calibrated(trial: CalibratedTrial, left: Mapping[Stage, float]) -> ExpectedCost:
    """Return what trials that are left cost, each of them trained to its last epoch."""
    return ExpectedCost(
        unit="GPU-hours" if trial.on_gpus else "core-hours",
        stages=tuple(
            StageCost(
                stage=stage,
                left=left[stage],
                trial_h=trial.hours,
                lowest_h=trial.lowest_h,
                highest_h=trial.highest_h,
            )
            for stage in Stage
            if left.get(stage)
        ),
        measured=0,
        studies=(),
        device=trial.device,
        others=0,
        calibrated=trial,
    )


def _stage_cost(stage: Stage, left: float, chosen: Sequence[MeasuredTrial]) -> StageCost:
    sample = [trial for trial in chosen if trial.stage is stage]
    if len(sample) < ENOUGH:
        # Only trials of the search are pruned.
        whole = [trial for trial in chosen if trial.state is not SlotState.PRUNED]
        sample = list(chosen) if stage is Stage.SEARCH or not whole else whole
    hours = [trial.hours for trial in sample]
    pruned = any(trial.state is SlotState.PRUNED for trial in sample)
    return StageCost(
        stage=stage,
        left=left,
        trial_h=statistics.fmean(hours) if pruned else statistics.median(hours),
        lowest_h=min(hours),
        highest_h=max(hours),
    )
