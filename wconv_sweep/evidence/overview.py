"""The progress of a study: all that `status` shows, read without loading every trial.

The database counts and sums; it sends only the trials that are shown one by one. So a
look at a study of 10,000 trials costs hardly more than at one of ten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, func, or_, select

from wconv_sweep.evidence.accounting import Usage, spent_seconds, usage_of
from wconv_sweep.evidence.confirmation import Confirmation, confirmation_of
from wconv_sweep.evidence.failures import Failure, failures_of
from wconv_sweep.evidence.lanes_seen import lanes_seen
from wconv_sweep.evidence.pilot_use import (
    Agents,
    PilotUse,
    agents_of,
    count_agents,
    pilots_of,
)
from wconv_sweep.evidence.proposals import (
    Proposals,
    finished_elsewhere,
    proposals_of,
    started_again,
)
from wconv_sweep.evidence.results import StudyResult, TrialRow, best_of, trial_row_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import find_study, study_names
from wconv_sweep.storage.tables import ENDED, SEARCHING, SLOTS, SlotState, Stage, StudyState
from wconv_sweep.study.config import PLAIN, StudyConfig, config_of
from wconv_sweep.study.point import SearchArm


@dataclass(frozen=True)
class Tally:
    """The slots of one state together."""

    slots: int = 0
    epochs: int = 0
    """That they have reported."""
    furthest: int = 0
    """Epochs of the one with the most."""


@dataclass(frozen=True)
class StudyOverview:
    """The progress of a study."""

    config: StudyConfig
    version: str
    """Of wconv-sweep, that made the study."""
    state: StudyState
    reason: str | None
    """Why the circuit breaker stopped the study, or why a pilot refused to train."""
    tallies: Mapping[SlotState, Tally]
    """Of all states, those without slots included."""
    shown: list[TrialRow]
    """The trials at work, the best one, those of plain convolution, of the confirmation and of
    the ablation."""
    failures: list[Failure]
    spent_s: float
    """Time of all attempts together, pauses left out."""
    now_s: float
    """The database's clock."""
    usage: Usage
    """GPU-hours of the whole study."""
    lanes_seen: int | None
    """Most trials that an agent had at a time; None: not known yet."""
    proposals: Proposals
    started_again: int
    """Trials whose program went back to its first step after an interruption."""
    finished_elsewhere: int
    """Complete trials whose program reported another last step than the study says."""
    agents: Agents
    pilots: list[PilotUse]
    """In the order of their numbers."""
    provenance: dict[str, Any]
    """Provenance of its trials."""
    uid: str
    """Unique identifier of the study."""
    folder: RunFolder

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.config.study

    @property
    def counts(self) -> dict[SlotState, int]:
        """Number of slots by state, those with none included."""
        return {state: tally.slots for state, tally in self.tallies.items()}

    @property
    def ended(self) -> int:
        """Number of slots that have ended."""
        return sum(self.tallies[state].slots for state in ENDED)

    @property
    def budget(self) -> int:
        """Number of slots."""
        return sum(tally.slots for tally in self.tallies.values())

    @property
    def epochs(self) -> int:
        """Number of epochs that have been trained and reported."""
        return sum(tally.epochs for tally in self.tallies.values())

    @property
    def epochs_saved(self) -> int:
        """Number of epochs that pruning saved."""
        return self._epochs_left(SlotState.PRUNED)

    @property
    def running(self) -> list[TrialRow]:
        """The trials that an agent holds."""
        return [row for row in self.shown if row.state is SlotState.LEASED]

    @property
    def complete(self) -> bool:
        """Whether every slot has ended."""
        return self.ended == self.budget

    @property
    def word(self) -> str:
        """The state in one word.

        complete, broken, stopped, stopping, running, stalled (every agent has fallen silent),
        capped (the GPU-hours are used up) or waiting (no pilot is running).
        """
        if self.complete:
            return "complete"
        if self.running and all((row.lease_until or 0.0) < self.now_s for row in self.running):
            return "stalled"
        if self.state is StudyState.STOPPED and self.running:
            return "stopping"
        if self.state is not StudyState.ACTIVE:
            return str(self.state)
        if self.running:
            return "running"
        return "capped" if self.capped else "waiting"

    @property
    def over(self) -> bool:
        """Whether it needs a user to continue: it is complete, stopped, broken or capped."""
        return self.word in ("complete", "capped") or (
            self.state is not StudyState.ACTIVE and not self.running
        )

    @property
    def capped(self) -> bool:
        """Whether no pilot is running, and the next trial would pass `budget.gpu_hours`."""
        open_ = self.tallies[SlotState.OPEN]
        return (
            open_.slots > 0
            and not self.running
            and self.state is StudyState.ACTIVE
            and not self.usage.allows(open_.furthest)
        )

    @property
    def trial_h(self) -> float:
        """GPU-hours that a site is expected to bill for a whole trial; 0 before the first epoch.

        Pilots with fewer lanes than their GPUs would hold leave the others idle.
        """
        lanes = self.usage.lanes
        return self.usage.trial_h * lanes / min(lanes, self.lanes_seen or lanes)

    @property
    def counts_gpus(self) -> bool:
        """Whether the study uses GPUs or has a cap."""
        return self.usage.spent_h > 0 or self.usage.cap_h is not None

    @property
    def result(self) -> StudyResult | None:
        """The best density so far."""
        return best_of(self.shown, self.config.direction, is_compared=self.config.claims_gain)

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """What fresh seeds have shown; None before the confirmation has started."""
        return confirmation_of(self.shown, self.config)

    @property
    def seconds_left(self) -> float | None:
        """Estimate until the budget has ended, at the present number of running trials.

        From the mean time of an epoch so far; None before the first.
        """
        if not self.epochs:
            return None
        left = sum(self._epochs_left(state) for state in SlotState if state not in ENDED)
        return self.spent_s / self.epochs * left / max(1, len(self.running))

    def _epochs_left(self, state: SlotState) -> int:
        """Return the epochs that the slots of a state have not trained."""
        tally = self.tallies[state]
        return tally.slots * self.config.recipe.epochs - tally.epochs


def read_overviews(storage: Storage, study: str | None) -> list[StudyOverview]:
    """Return the progress of one study, or of all in the storage, oldest first.

    Raises:
        StudyError: the storage holds no such study.
    """
    names = study_names(storage) if study is None else [study]
    return [read_overview(storage, name) for name in names]


def read_overview(storage: Storage, study: str) -> StudyOverview:
    """Return the progress of one study.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        return overview_of(connection, storage, study)


def overview_of(connection: Connection, storage: Storage, study: str) -> StudyOverview:
    """Return the same within a transaction."""
    row = find_study(connection, storage, study)
    config = config_of(row.config)
    now = storage.now()
    agents = agents_of(connection, now, study)
    usage = usage_of(connection, now, study)
    return StudyOverview(
        config=config,
        version=row.version,
        state=StudyState(row.state),
        reason=row.reason,
        tallies=_tallies(connection, study),
        shown=[trial_row_of(slot) for slot in _shown(connection, config)],
        failures=failures_of(connection, study),
        spent_s=spent_seconds(connection, now, study),
        now_s=connection.scalar(select(now)) or 0.0,
        usage=usage,
        # Where all GPUs of a pilot hold one trial, as many were seen.
        lanes_seen=lanes_seen(connection, study) if usage.lanes > 1 else None,
        proposals=proposals_of(connection, config),
        started_again=started_again(connection, study) if config.trainer else 0,
        finished_elsewhere=finished_elsewhere(connection, config) if config.trainer else 0,
        agents=count_agents(agents),
        pilots=pilots_of(agents),
        provenance=row.provenance or {},
        uid=row.uid,
        folder=RunFolder((storage.folder / row.run_folder).resolve()),
    )


def _tallies(connection: Connection, study: str) -> dict[SlotState, Tally]:
    rows = connection.execute(
        select(
            SLOTS.c.state,
            func.count().label("slots"),
            func.sum(SLOTS.c.epoch).label("epochs"),
            func.max(SLOTS.c.epoch).label("furthest"),
        )
        .where(SLOTS.c.study == study)
        .group_by(SLOTS.c.state)
    )
    found = {row.state: Tally(row.slots, row.epochs, row.furthest) for row in rows}
    return {state: found.get(state, Tally()) for state in SlotState}


def _shown(connection: Connection, config: StudyConfig) -> Sequence[Row[Any]]:
    of_study = SLOTS.c.study == config.study
    value = SLOTS.c.value

    def best(*chosen: ColumnElement[bool]) -> ScalarSelect[int]:
        # As `best_of` chooses: of equal values the earlier slot.
        found = select(SLOTS.c.slot).where(
            of_study,
            SLOTS.c.state == SlotState.COMPLETE,
            SLOTS.c.stage.in_(SEARCHING),
            value.is_not(None),
            *chosen,
        )
        falling = value.desc() if config.direction == "maximize" else value
        return found.order_by(falling, SLOTS.c.position).limit(1).scalar_subquery()

    one_by_one = or_(
        SLOTS.c.state == SlotState.LEASED,
        SLOTS.c.stage.in_((Stage.CONFIRM, Stage.ABLATION)),
        SLOTS.c.label == PLAIN,
        SLOTS.c.slot == best(),
        *([SLOTS.c.slot == best(SLOTS.c.arm == SearchArm.PLAIN)] if config.has_two_arms else []),
    )
    return connection.execute(
        select(SLOTS).where(of_study, one_by_one).order_by(SLOTS.c.position)
    ).all()
