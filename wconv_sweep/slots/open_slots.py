"""Leases open slots: to one agent alone while the canary runs, and never past the cap."""

import enum
import secrets
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, select, update

from wconv_sweep.evidence.accounting import UNLIMITED, Usage, usage_of
from wconv_sweep.slots.leases import Lease, lease_of, ran_out, renew, reopen, study_row
from wconv_sweep.slots.provenance import Provenance, differences
from wconv_sweep.slots.stages import stage_due
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import (
    ATTEMPTS,
    SLOTS,
    STUDIES,
    AttemptOutcome,
    SlotState,
    StudyState,
)
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.search_space import distributions_of, params_of


class NoSlot(enum.Enum):
    """Why there is nothing to lease."""

    WAIT = "other pilots are running and may hand a slot back"
    END = "every slot has ended, or the study is stopped"
    STAGE = "the next stage of the study has to be opened"
    CAPPED = "the next trial would pass budget.gpu_hours"
    REFUSED = "the program, the definition or the data are not those of the study"


class OpenSlots:
    """Gives the open slots of one study to workers; see `SlotTable` for the arguments."""

    def __init__(
        self,
        storage: Storage,
        config: StudyConfig,
        *,
        lease_s: float,
        gpus_per_trial: int,
        provenance: Provenance,
    ) -> None:
        self._storage = storage
        self._config = config
        self._study = config.study
        self._lease_s = lease_s
        self._gpus_per_trial = gpus_per_trial
        self._provenance = provenance

    def lease_many(
        self, owner: str, count: int, *, nonce: str | None = None, stepped: bool = False
    ) -> list[Lease] | NoSlot:
        """Lease up to `count` open slots, each with its trial, to `owner`.

        As long as no trial has finished an epoch there is one at a time: the canary. If it breaks,
        so would all others. Once it has taken a step, its worker may lease more: what holds them
        is there already, and idle otherwise. With a cap on the cost they wait for the epoch, from
        which it is known. No slot is leased whose expected cost would pass the cap.

        Args:
            owner: the worker.
            count: slots wanted.
            nonce: names this call; a repeated one with the same nonce returns what the first one
                has leased and that is still held. Each call has its own when left out.
            stepped: whether one of the worker's trials has taken a step.
        """
        holder = f"{owner}/{nonce or secrets.token_hex(4)}"
        with self._storage.write() as connection:
            # One call at a time: canary and cap depend on how many there are.
            study = study_row(connection, self._study, lock=True)
            held = self._held(connection, holder)
            if held:
                return held
            if study.state != StudyState.ACTIVE:
                return NoSlot.END
            if self._refuses(connection, study):
                return NoSlot.REFUSED
            leased = self._leased_after_reaping(connection)
            begun = self._has_begun(connection)
            # The usage of others is summed only if it is needed: the study is locked.
            capped = study.config["budget"].get("gpu_hours") is not None
            usage = usage_of(connection, self._storage.now(), self._study) if capped else UNLIMITED
            if leased and usage.used_up:
                # What runs stops at its checkpoint, and who waits for it holds GPUs for nothing.
                return NoSlot.CAPPED
            several = begun or (stepped and not capped and self._all_are_of(connection, owner))
            if leased and not several:
                return NoSlot.WAIT
            leases: list[Lease] = []
            while len(leases) < (count if several else 1):
                row = self._next_open(connection, usage)
                if row is None:
                    break
                leases.append(self._lease(connection, study, row, holder))
                usage = usage.with_leased(row.epoch)
            return leases or self._why_none(connection, usage, leased)

    def has_open(self) -> bool:
        """Return whether the study is active and has a slot to lease now or later in budget."""
        with self._storage.read() as connection:
            if study_row(connection, self._study).state != StudyState.ACTIVE:
                return False
            usage = usage_of(connection, self._storage.now(), self._study)
            found = connection.scalar(
                select(SLOTS.c.slot)
                .where(
                    SLOTS.c.study == self._study,
                    # The slots of a later stage open when those of the one before have ended.
                    SLOTS.c.state.in_((SlotState.OPEN, SlotState.CLOSED)),
                    SLOTS.c.epoch >= usage.first_epoch_allowed,
                )
                .limit(1)
            )
            return found is not None

    def _lease(self, connection: Connection, study: Row[Any], row: Row[Any], holder: str) -> Lease:
        trial_id, trial = row.trial_id, row.trial
        if trial_id is None:
            named = {"label": row.label} if row.label else {}
            named |= {"arm": row.arm} if row.arm else {}
            attributes = {
                "stage": row.stage,
                "seed_index": row.replicate,
                "seed": self._config.seed,
            } | named
            study_id = study.optuna_study_id
            trial_id, trial = trial_rows.create_trial(connection, study_id, attributes)
            if row.point is not None:
                params = params_of(self._config, row.point)
                trial_rows.set_params(connection, trial_id, params, distributions_of(self._config))
        now = self._storage.now()
        leased = connection.execute(
            update(SLOTS)
            .where(SLOTS.c.slot == row.slot)
            .returning(*SLOTS.c)
            .values(
                state=SlotState.LEASED,
                attempt=row.attempt + 1,
                owner=holder,
                lease_until=now + self._lease_s,
                trial_id=trial_id,
                trial=trial,
            )
        ).one()
        connection.execute(
            ATTEMPTS.insert().values(
                slot=row.slot,
                attempt=row.attempt + 1,
                owner=holder,
                outcome=AttemptOutcome.RUNNING,
                gpus_per_trial=self._gpus_per_trial,
                provenance=dict(self._provenance),
                started_at=now,
            )
        )
        return lease_of(leased)

    def _held(self, connection: Connection, holder: str) -> list[Lease]:
        mine = (
            SLOTS.c.study == self._study,
            SLOTS.c.state == SlotState.LEASED,
            SLOTS.c.owner == holder,
        )
        rows = connection.execute(select(SLOTS).where(*mine).order_by(SLOTS.c.position)).all()
        leases = [lease_of(row) for row in rows]
        for lease in leases:
            renew(connection, self._storage, lease, self._lease_s)
        return leases

    def _next_open(self, connection: Connection, usage: Usage) -> Row[Any] | None:
        """Return the first open slot that the cap allows, and lock it."""
        rows = connection.execute(
            select(SLOTS)
            .where(
                SLOTS.c.study == self._study,
                SLOTS.c.state == SlotState.OPEN,
                SLOTS.c.epoch >= usage.first_epoch_allowed,
            )
            .order_by(SLOTS.c.position)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return rows.one_or_none()

    def _why_none(self, connection: Connection, usage: Usage, leased: int) -> NoSlot:
        furthest = connection.scalar(
            select(func.max(SLOTS.c.epoch)).where(
                SLOTS.c.study == self._study, SLOTS.c.state == SlotState.OPEN
            )
        )
        if furthest is None:
            if stage_due(connection, self._study) is not None:
                return NoSlot.STAGE
            return NoSlot.WAIT if leased else NoSlot.END
        # An allowed one was locked by another worker just now.
        return NoSlot.WAIT if usage.allows(furthest) else NoSlot.CAPPED

    def _refuses(self, connection: Connection, study: Row[Any]) -> bool:
        found = differences(study.provenance or {}, self._provenance)
        if not found:
            return False
        where = self._provenance.get("host", "a pilot")
        connection.execute(
            update(STUDIES)
            .where(STUDIES.c.study == self._study)
            .values(reason=f"{where} refused to train: {'; '.join(found)}")
        )
        return True

    def _leased_after_reaping(self, connection: Connection) -> int:
        """Hand back slots whose lease has run out, and return how many are leased then."""
        leased = (SLOTS.c.study == self._study, SLOTS.c.state == SlotState.LEASED)
        over = ran_out(self._storage, self._lease_s)
        found = connection.execute(
            select(func.count(), func.sum(case((over, 1), else_=0))).where(*leased)
        ).one()
        if not found[1]:
            return int(found[0])
        expired = connection.execute(
            select(SLOTS.c.slot, SLOTS.c.attempt)
            .where(*leased, over)
            .with_for_update(skip_locked=True)
        ).all()
        for row in expired:
            reopen(connection, self._storage, row.slot, row.attempt, "lease ran out")
        return int(found[0]) - len(expired)

    def _all_are_of(self, connection: Connection, owner: str) -> bool:
        """Return whether there are leased slots, and all of them are this worker's."""
        leased = (SLOTS.c.study == self._study, SLOTS.c.state == SlotState.LEASED)
        owners = connection.scalars(select(SLOTS.c.owner).where(*leased)).all()
        return bool(owners) and all(each.startswith(f"{owner}/") for each in owners)

    def _has_begun(self, connection: Connection) -> bool:
        """Return whether any trial has finished an epoch."""
        begun = exists().where(SLOTS.c.study == self._study, SLOTS.c.epoch > 0)
        return bool(connection.scalar(select(begun)))
