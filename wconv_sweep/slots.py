"""The slot table: the budget of a study, claimed and ended exactly once.

    OPEN --claim--> LEASED --complete/prune--> COMPLETE | PRUNED
      ^                |
      |  interrupted   |   signal, time limit, lost lease      free, continues from the checkpoint
      +----------------+
                       +-- broken: exception, NaN, killed rank   counted, then FAILED

Every change is one transaction that touches the slot, its attempt and its Optuna trial together,
and every change by a worker is conditional on (slot, attempt, owner): a worker whose lease was
given away changes nothing and gets `LeaseLost`.
"""

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, Row, func, select, update

from wconv_jobs.channel import Broken
from wconv_jobs.errors import TrainingDiverged
from wconv_sweep import trial_rows
from wconv_sweep.search_space import distributions_of
from wconv_sweep.storage import Storage
from wconv_sweep.study_config import StudyConfig
from wconv_sweep.tables import (
    ATTEMPTS,
    SLOTS,
    STUDIES,
    AttemptOutcome,
    SlotState,
    Stage,
    StudyState,
)

DIVERGED = TrainingDiverged.__name__


class LeaseLost(Exception):
    """The slot was given to another worker; the trial must end and leave no trace."""


class NoSlot(enum.Enum):
    """Why there is nothing to claim."""

    WAIT = "others are at work and may hand a slot back"
    END = "every slot has ended, or the study is stopped"


@dataclass(frozen=True)
class Claim:
    """A worker's right to one slot."""

    slot: int
    position: int
    """Place of the slot in its study, from 0."""
    attempt: int
    owner: str
    trial_id: int
    trial: int
    stage: Stage
    label: str | None
    density: tuple[float, ...] | None
    """None for a search slot that has not been sampled yet."""
    replicate: int
    epoch: int
    """Epochs that earlier attempts have reported."""


class SlotTable:
    """The slots of one study."""

    def __init__(self, storage: Storage, config: StudyConfig, *, lease_s: float) -> None:
        """
        Args:
            storage: holds the study.
            config: the study's definition.
            lease_s: silence after which a worker's slot is given to another.
        """
        self._storage = storage
        self._config = config
        self._study = config.study
        self._lease_s = lease_s

    def claim(self, owner: str) -> Claim | NoSlot:
        """Lease the next open slot, with its trial, to `owner`.

        As long as no trial has finished an epoch there is one at a time: the canary. If it breaks,
        so would all others.
        """
        with self._storage.write() as connection:
            if self._study_row(connection).state != StudyState.ACTIVE:
                return NoSlot.END
            self._reap(connection)
            leased = self._count(connection, SLOTS.c.state == SlotState.LEASED)
            if leased and not self._count(connection, SLOTS.c.epoch > 0):
                return NoSlot.WAIT
            row = connection.execute(
                select(SLOTS)
                .where(SLOTS.c.study == self._study, SLOTS.c.state == SlotState.OPEN)
                .order_by(SLOTS.c.position)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return NoSlot.WAIT if leased else NoSlot.END
            return self._lease(connection, row, owner)

    def set_density(
        self,
        claim: Claim,
        density: tuple[float, ...],
        distributions: Mapping[str, FloatDistribution],
    ) -> None:
        """Record the density that the sampler proposed for a slot without one."""
        with self._storage.write() as connection:
            self._fenced(connection, claim, density=json.dumps(density))
            params = dict(zip(distributions, density, strict=True))
            trial_rows.set_params(connection, claim.trial_id, params, distributions)

    def heartbeat(self, claim: Claim) -> StudyState:
        """Renew the lease and return the study's state."""
        with self._storage.write() as connection:
            self._fenced(connection, claim)
            return StudyState(self._study_row(connection).state)

    def report(
        self, claim: Claim, epoch: int, value: float, metrics: Mapping[str, float]
    ) -> StudyState:
        """Record an epoch that has not been recorded yet, and renew the lease."""
        with self._storage.write() as connection:
            self._fenced(
                connection, claim, epoch=epoch, value=value, metrics=json.dumps(_finite(metrics))
            )
            trial_rows.add_intermediate_value(connection, claim.trial_id, epoch, value)
            return StudyState(self._study_row(connection).state)

    def complete(
        self, claim: Claim, metrics: Mapping[str, float], provenance: Mapping[str, str]
    ) -> None:
        """End the slot with the metrics of the whole run.

        Its value is the objective among them: that of the weights that were tested, which with
        early stopping are not those of the last epoch.
        """
        with self._storage.write() as connection:
            row = self._end(connection, claim, SlotState.COMPLETE, AttemptOutcome.COMPLETE)
            merged = json.loads(row.metrics or "{}") | _finite(metrics)
            value = merged.get(self._config.objective.metric, row.value)
            connection.execute(
                update(SLOTS)
                .where(SLOTS.c.slot == claim.slot)
                .values(
                    value=value,
                    metrics=json.dumps(merged),
                    provenance=json.dumps(dict(provenance)),
                )
            )
            trial_rows.set_user_attributes(connection, claim.trial_id, merged | dict(provenance))
            trial_rows.finish_trial(connection, claim.trial_id, TrialState.COMPLETE, value)

    def prune(self, claim: Claim) -> None:
        """End the slot as pruned, with the value of its last epoch."""
        with self._storage.write() as connection:
            row = self._end(connection, claim, SlotState.PRUNED, AttemptOutcome.PRUNED)
            trial_rows.finish_trial(connection, claim.trial_id, TrialState.PRUNED, row.value)

    def interrupt(self, claim: Claim, reason: str) -> None:
        """Hand the slot back; its trial stays, and the next attempt continues it."""
        with self._storage.write() as connection:
            self._fenced(connection, claim)
            self._reopen(connection, claim.slot, claim.attempt, reason)

    def interrupt_all_of(self, owner_prefix: str, reason: str) -> int:
        """Hand back what dead workers hold whose owner starts with `owner_prefix`."""
        with self._storage.write() as connection:
            rows = connection.execute(
                select(SLOTS.c.slot, SLOTS.c.attempt).where(
                    SLOTS.c.study == self._study,
                    SLOTS.c.state == SlotState.LEASED,
                    SLOTS.c.owner.startswith(owner_prefix, autoescape=True),
                )
            ).all()
            for row in rows:
                self._reopen(connection, row.slot, row.attempt, reason)
            return len(rows)

    def break_(self, claim: Claim, failure: Broken) -> SlotState:
        """Count a broken attempt; return FAILED when it was the last, OPEN when it is tried again.

        The same failure `budget.breaker_failures` times breaks the study; once a trial has
        completed, in as many slots. A diverged training says
        something about its density, not about the study, unless nothing has completed yet. Any
        other failure that a repetition cannot mend, such as images that are gone, breaks the study
        at once and leaves the slot open: each further trial would only fail in the same way.
        """
        budget = self._config.budget
        with self._storage.write() as connection:
            counted = 0 if _is_hopeless(failure) else 1
            self._fenced(connection, claim, broken=SLOTS.c.broken + counted)
            self._close_attempt(
                connection,
                claim.slot,
                claim.attempt,
                AttemptOutcome.BROKEN,
                error=failure.error,
                place=failure.where,
                reason=failure.message,
                traceback=failure.traceback,
            )
            self._maybe_break_study(connection, failure)
            broken = connection.scalar(select(SLOTS.c.broken).where(SLOTS.c.slot == claim.slot))
            diverged = failure.error == DIVERGED
            if _is_hopeless(failure) or (not diverged and (broken or 0) < budget.max_attempts):
                self._set_open(connection, claim.slot)
                return SlotState.OPEN
            connection.execute(
                update(SLOTS)
                .where(SLOTS.c.slot == claim.slot)
                .values(
                    state=SlotState.FAILED,
                    reason=f"{failure.error}: {failure.message}",
                    owner=None,
                    lease_until=None,
                )
            )
            reason = {"failed": f"{failure.error}: {failure.message}"}
            trial_rows.set_user_attributes(connection, claim.trial_id, reason)
            trial_rows.finish_trial(connection, claim.trial_id, TrialState.FAIL, None)
            return SlotState.FAILED

    def _lease(self, connection: Connection, row: Row[tuple[object, ...]], owner: str) -> Claim:
        density = tuple(json.loads(row.density)) if row.density else None
        trial_id, trial = row.trial_id, row.trial
        if trial_id is None:
            study_id = self._study_row(connection).optuna_study_id
            named = {"label": row.label} if row.label else {}
            attributes = {"stage": row.stage, "replicate": row.replicate} | named
            trial_id, trial = trial_rows.create_trial(connection, study_id, attributes)
            if density is not None:
                distributions = distributions_of(self._config)
                params = dict(zip(distributions, density, strict=True))
                trial_rows.set_params(connection, trial_id, params, distributions)
        attempt = row.attempt + 1
        now = self._storage.now()
        connection.execute(
            update(SLOTS)
            .where(SLOTS.c.slot == row.slot)
            .values(
                state=SlotState.LEASED,
                attempt=attempt,
                owner=owner,
                lease_until=now + self._lease_s,
                trial_id=trial_id,
                trial=trial,
            )
        )
        connection.execute(
            ATTEMPTS.insert().values(
                slot=row.slot,
                attempt=attempt,
                owner=owner,
                outcome=AttemptOutcome.RUNNING,
                started_at=now,
            )
        )
        return Claim(
            slot=row.slot,
            position=row.position,
            attempt=attempt,
            owner=owner,
            trial_id=trial_id,
            trial=trial,
            stage=Stage(row.stage),
            label=row.label,
            density=density,
            replicate=row.replicate,
            epoch=row.epoch,
        )

    def _fenced(self, connection: Connection, claim: Claim, **values: object) -> None:
        """Change the slot and renew its lease, if it is still the claim's."""
        changed = connection.execute(
            update(SLOTS)
            .where(
                SLOTS.c.slot == claim.slot,
                SLOTS.c.attempt == claim.attempt,
                SLOTS.c.owner == claim.owner,
                SLOTS.c.state == SlotState.LEASED,
            )
            .values({"lease_until": self._storage.now() + self._lease_s} | values)
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"slot {claim.slot}, attempt {claim.attempt}")

    def _end(
        self, connection: Connection, claim: Claim, state: SlotState, outcome: AttemptOutcome
    ) -> Row[tuple[object, ...]]:
        self._fenced(connection, claim, state=state)
        connection.execute(
            update(SLOTS).where(SLOTS.c.slot == claim.slot).values(owner=None, lease_until=None)
        )
        self._close_attempt(connection, claim.slot, claim.attempt, outcome)
        return connection.execute(select(SLOTS).where(SLOTS.c.slot == claim.slot)).one()

    def _reap(self, connection: Connection) -> None:
        """Hand back slots whose lease has run out."""
        expired = connection.execute(
            select(SLOTS.c.slot, SLOTS.c.attempt)
            .where(
                SLOTS.c.study == self._study,
                SLOTS.c.state == SlotState.LEASED,
                SLOTS.c.lease_until < self._storage.now(),
            )
            .with_for_update(skip_locked=True)
        ).all()
        for row in expired:
            self._reopen(connection, row.slot, row.attempt, "lease ran out")

    def _reopen(self, connection: Connection, slot: int, attempt: int, reason: str) -> None:
        self._set_open(connection, slot)
        self._close_attempt(connection, slot, attempt, AttemptOutcome.INTERRUPTED, reason=reason)

    def _set_open(self, connection: Connection, slot: int) -> None:
        connection.execute(
            update(SLOTS)
            .where(SLOTS.c.slot == slot)
            .values(state=SlotState.OPEN, owner=None, lease_until=None)
        )

    def _close_attempt(
        self,
        connection: Connection,
        slot: int,
        attempt: int,
        outcome: AttemptOutcome,
        **values: str,
    ) -> None:
        connection.execute(
            update(ATTEMPTS)
            .where(ATTEMPTS.c.slot == slot, ATTEMPTS.c.attempt == attempt)
            .values({"outcome": outcome, "ended_at": self._storage.now()} | values)
        )

    def _maybe_break_study(self, connection: Connection, failure: Broken) -> None:
        completed = self._count(connection, SLOTS.c.state == SlotState.COMPLETE)
        if failure.error == DIVERGED and completed:
            return
        study = self._study_row(connection)
        # Once the study has shown that it works, one bad slot must not stop it.
        what = ATTEMPTS.c.slot.distinct() if completed else ATTEMPTS.c.id
        equal = connection.scalar(
            select(func.count(what))
            .select_from(ATTEMPTS.join(SLOTS))
            .where(
                SLOTS.c.study == self._study,
                ATTEMPTS.c.id > study.breaker_from,
                ATTEMPTS.c.outcome == AttemptOutcome.BROKEN,
                ATTEMPTS.c.error == failure.error,
                ATTEMPTS.c.place == failure.where,
            )
        )
        limit = 1 if _is_hopeless(failure) else self._config.budget.breaker_failures
        if study.state == StudyState.ACTIVE and (equal or 0) >= limit:
            number = f"{equal} equal failures" if equal and equal > 1 else "a failure"
            message = failure.message.rstrip(".")
            reason = f"{number}: {failure.error} at {failure.where}: {message}"
            connection.execute(
                update(STUDIES)
                .where(STUDIES.c.study == self._study)
                .values(state=StudyState.BROKEN, reason=reason)
            )

    def _study_row(self, connection: Connection) -> Row[tuple[object, ...]]:
        return connection.execute(select(STUDIES).where(STUDIES.c.study == self._study)).one()

    def _count(self, connection: Connection, condition: object) -> int:
        statement = select(func.count()).where(SLOTS.c.study == self._study, condition)  # type: ignore[arg-type]
        return connection.scalar(statement) or 0


def _is_hopeless(failure: Broken) -> bool:
    """Tell whether all trials of the study would break in this way, however often tried."""
    return failure.final and failure.error != DIVERGED


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leave out what JSON cannot hold; a metric that is missing is not defined for these data."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
