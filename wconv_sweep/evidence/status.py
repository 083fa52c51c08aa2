"""The state of a study, read with two queries and without Optuna or torch."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, func, select

from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.accounting import (
    Agents,
    Usage,
    agents_of,
    attempt_seconds,
    trial_gpu_hours,
    usage_of,
)
from wconv_sweep.evidence.confirmation import Confirmation, confirmation_of
from wconv_sweep.evidence.results import StudyResult, TrialRow, best_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.jobs import SlurmView, job_name, views_of
from wconv_sweep.slurm.orders import has_been_in_slurm
from wconv_sweep.storage.storage import Storage
from wconv_sweep.storage.tables import (
    ATTEMPTS,
    ENDED,
    SLOTS,
    STUDIES,
    AttemptOutcome,
    SlotState,
    StudyState,
)
from wconv_sweep.study.config import StudyConfig, config_of


@dataclass(frozen=True)
class Failure:
    """Broken attempts with the same cause."""

    error: str
    place: str
    count: int
    reason: str
    traceback: str
    """Of the first of them."""


@dataclass(frozen=True)
class StudyStatus:
    """What is going on in a study."""

    config: StudyConfig
    version: str
    """Of wconv-sweep, that made the study."""
    state: StudyState
    reason: str | None
    """Why the circuit breaker stopped the study, or why a pilot refused to train."""
    trials: list[TrialRow]
    failures: list[Failure]
    spent_s: float
    """Time of all attempts together, pauses left out."""
    now_s: float
    """The database's clock."""
    usage: Usage
    """GPU-hours of the whole study."""
    agents: Agents
    provenance: dict[str, Any]
    """What its trials come from."""
    uid: str
    """Of the study, which no other has had."""
    folder: RunFolder

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.config.study

    @property
    def counts(self) -> dict[SlotState, int]:
        """Number of slots by state, those with none included."""
        counter = Counter(row.state for row in self.trials)
        return {state: counter[state] for state in SlotState}

    @property
    def ended(self) -> int:
        """Number of slots that have ended."""
        return sum(self.counts[state] for state in ENDED)

    @property
    def budget(self) -> int:
        """Number of slots."""
        return len(self.trials)

    @property
    def running(self) -> list[TrialRow]:
        """The trials that an agent holds."""
        return [row for row in self.trials if row.state is SlotState.LEASED]

    @property
    def complete(self) -> bool:
        """Whether every slot has ended."""
        return self.ended == self.budget

    @property
    def word(self) -> str:
        """The state in one word.

        complete, broken, stopped, stopping, running, stalled (every agent has fallen silent),
        capped (the GPU-hours are used up) or waiting (nobody is at work).
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
        """Whether nothing will change by itself: it is complete, stopped, broken or capped."""
        return self.word in ("complete", "capped") or (
            self.state is not StudyState.ACTIVE and not self.running
        )

    @property
    def capped(self) -> bool:
        """Whether nobody is at work, and the next trial would pass `budget.gpu_hours`."""
        open_ = [row.epoch for row in self.trials if row.state is SlotState.OPEN]
        return (
            bool(open_)
            and not self.running
            and self.state is StudyState.ACTIVE
            and not self.usage.allows(max(open_))
        )

    @property
    def counts_gpus(self) -> bool:
        """Whether GPU-hours say anything about the study."""
        return self.usage.spent_h > 0 or self.usage.cap_h is not None

    @property
    def result(self) -> StudyResult | None:
        """The best density so far."""
        return best_of(self.trials, self.config.direction)

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """What fresh seeds have shown; None before the confirmation has begun."""
        return confirmation_of(self.trials, self.config)

    @property
    def seconds_left(self) -> float | None:
        """Estimate until the budget has ended, at the present number of running trials.

        From the mean time of an epoch so far; None before the first.
        """
        done = sum(row.epoch for row in self.trials)
        if not done:
            return None
        epochs = self.config.recipe.epochs
        left = sum(epochs - row.epoch for row in self.trials if row.state not in ENDED)
        return self.spent_s / done * left / max(1, len(self.running))


def read_status(storage: Storage, study: str) -> StudyStatus:
    """Return the status of one study.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        row = study_row(connection, storage, study)
        slots = connection.execute(
            select(SLOTS).where(SLOTS.c.study == study).order_by(SLOTS.c.position)
        ).all()
        broken = connection.execute(
            select(
                ATTEMPTS.c.error,
                ATTEMPTS.c.place,
                func.count().label("number"),
                func.min(ATTEMPTS.c.id).label("first"),
            )
            .select_from(ATTEMPTS.join(SLOTS))
            .where(SLOTS.c.study == study, ATTEMPTS.c.outcome == AttemptOutcome.BROKEN)
            .group_by(ATTEMPTS.c.error, ATTEMPTS.c.place)
            .order_by(func.count().desc())
        ).all()
        firsts = {
            first.id: first
            for first in connection.execute(
                select(ATTEMPTS).where(ATTEMPTS.c.id.in_([group.first for group in broken]))
            )
        }
        now = storage.now()
        spent_s = connection.scalar(
            select(func.sum(attempt_seconds(now)))
            .select_from(ATTEMPTS.join(SLOTS))
            .where(SLOTS.c.study == study)
        )
        now_s = connection.scalar(select(now))
        usage = usage_of(connection, now, study)
        gpu_hours = trial_gpu_hours(connection, now, study)
        agents = agents_of(connection, now, study)
    return StudyStatus(
        config=config_of(row.config),
        version=row.version,
        state=StudyState(row.state),
        reason=row.reason,
        trials=[
            TrialRow(
                position=slot.position,
                stage=slot.stage,
                label=slot.label,
                state=SlotState(slot.state),
                density=tuple(json.loads(slot.density)) if slot.density else None,
                trial=slot.trial,
                attempt=slot.attempt,
                epoch=slot.epoch,
                value=slot.value,
                metrics=json.loads(slot.metrics or "{}"),
                provenance=json.loads(slot.provenance or "{}"),
                reason=slot.reason,
                lease_until=slot.lease_until,
                gpu_hours=gpu_hours.get(slot.position, 0.0),
                replicate=slot.replicate,
            )
            for slot in slots
        ],
        failures=[
            Failure(
                error=group.error,
                place=group.place,
                count=group.number,
                reason=firsts[group.first].reason,
                traceback=firsts[group.first].traceback,
            )
            for group in broken
        ],
        spent_s=spent_s or 0.0,
        now_s=now_s or 0.0,
        usage=usage,
        agents=agents,
        provenance=json.loads(row.provenance or "{}"),
        uid=row.uid,
        folder=RunFolder((storage.folder / row.run_folder).resolve()),
    )


def read_statuses(storage: Storage, study: str | None) -> list[StudyStatus]:
    """Return the status of one study, or of all in the storage, oldest first.

    Raises:
        StudyError: the storage holds no such study.
    """
    names = study_names(storage) if study is None else [study]
    return [read_status(storage, name) for name in names]


def study_jobs(statuses: Sequence[StudyStatus]) -> list[SlurmView | None]:
    """Return what SLURM knows of the pilots of each study; None where they have never been there.

    One squeue and one sacct for all of them together.
    """
    names = [
        job_name(status.study, status.uid) if has_been_in_slurm(status.folder) else None
        for status in statuses
    ]
    asked = [name for name in names if name is not None]
    views = views_of(asked) if asked else {}
    return [views[name] if name else None for name in names]


def study_names(storage: Storage) -> list[str]:
    """Return the studies of the storage, oldest first."""
    with storage.read() as connection:
        return list(connection.scalars(select(STUDIES.c.study).order_by(STUDIES.c.created_at)))


def study_row(connection: Connection, storage: Storage, study: str) -> Row[Any]:
    """Return a study's row of the table of studies.

    Raises:
        StudyError: the storage holds no such study.
    """
    row = connection.execute(select(STUDIES).where(STUDIES.c.study == study)).one_or_none()
    if row is not None:
        return row
    known = ", ".join(connection.scalars(select(STUDIES.c.study))) or "none"
    if study.endswith((".yaml", ".yml")):
        raise StudyError(
            f"--study {study}: takes the name of a study that was launched, not its file. "
            f"{storage.name} holds: {known}."
        )
    raise StudyError(
        f"--study {study}: {storage.name} holds no such study. It holds: {known}. "
        f"Run `wconv-sweep launch --study {study}` first, or name another storage with --storage "
        "or --runs."
    )
