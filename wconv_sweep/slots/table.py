"""The slot table: the budget of a study, leased and ended exactly once.

    OPEN --lease--> LEASED --complete/prune--> COMPLETE | PRUNED
      ^                |
      |  interrupted   |   signal, time limit, lost lease      free, continues from the checkpoint
      +----------------+
                       +-- broken: exception, NaN, killed rank   counted, then FAILED

Every change is one transaction that touches the slot, its attempt and its Optuna trial together,
and every change by a worker is conditional on (slot, attempt, owner): a worker whose lease was
given away changes nothing and gets `LeaseLost`. A transaction whose answer was lost may have
taken place; so every change may be repeated by its owner, and has one effect.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Column, Connection, Label, not_, or_, select, update

from wconv_jobs.messages import Broken
from wconv_sweep.evidence.accounting import usage_of
from wconv_sweep.slots.endings import SlotEndings, finite
from wconv_sweep.slots.leases import (
    Lease,
    LeaseLost,
    interrupt_all_of,
    is_of,
    ran_out,
    renew,
    study_row,
)
from wconv_sweep.slots.open_slots import NoSlot, OpenSlots
from wconv_sweep.slots.provenance import Provenance
from wconv_sweep.slots.search_end import SearchEnd
from wconv_sweep.slots.stages import open_stage
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import (
    ENDED,
    SLOTS,
    STARTED_AGAIN,
    STUDIES,
    SlotState,
    Stage,
    StudyState,
)
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point
from wconv_sweep.study.search_space import distributions_of, params_of

__all__ = ["Lease", "LeaseLost", "NoSlot", "SlotTable"]


class SlotTable:
    """The slots of one study."""

    def __init__(
        self,
        storage: Storage,
        config: StudyConfig,
        *,
        lease_s: float,
        gpus_per_trial: int = 0,
        provenance: Provenance | None = None,
    ) -> None:
        """
        Args:
            storage: holds the study.
            config: the study's definition.
            lease_s: silence after which a worker's slot is given to another.
            gpus_per_trial: that each of the worker's trials holds.
            provenance: of the worker's trials; a study with another one gives it
                no slot.
        """
        self._storage = storage
        self._config = config
        self._study = config.study
        self._lease_s = lease_s
        self._provenance = provenance or {}
        self._search_end = SearchEnd(storage, config)
        self._endings = SlotEndings(storage, config, lease_s=lease_s, provenance=self._provenance)
        self._open_slots = OpenSlots(
            storage,
            config,
            lease_s=lease_s,
            gpus_per_trial=gpus_per_trial,
            provenance=self._provenance,
        )

    def lease(self, owner: str, *, nonce: str | None = None) -> Lease | NoSlot:
        """Lease the next open slot, with its trial, to `owner`; see `lease_many`."""
        leases = self.lease_many(owner, 1, nonce=nonce)
        return leases if isinstance(leases, NoSlot) else leases[0]

    def lease_many(
        self, owner: str, count: int, *, nonce: str | None = None, stepped: bool = False
    ) -> list[Lease] | NoSlot:
        """Lease up to `count` open slots, of the next stage once the one before has ended.

        See `OpenSlots.lease_many`.
        """
        self._search_end.end_if_due()
        while True:
            leases = self._open_slots.lease_many(owner, count, nonce=nonce, stepped=stepped)
            if leases is not NoSlot.STAGE:
                return leases
            open_stage(self._storage, self._config)

    def has_open(self) -> bool:
        """Return whether there is a slot that a worker might lease now, see `lease_many`."""
        return self._open_slots.has_open()

    def set_point(
        self, lease: Lease, point: Point, attributes: Mapping[str, object] | None = None
    ) -> Point:
        """Record the point that the sampler proposed for a slot without one, and its notes.

        The slots that repeat it with other seeds open.

        Returns:
            The slot's point: that of the first call.
        """
        with self._storage.write() as connection:
            if self._config.search.seeds > 1:
                study_row(connection, self._study, lock=True)
            first = connection.execute(
                update(SLOTS)
                .where(is_of(lease), SLOTS.c.point.is_(None))
                .values(point=point, lease_until=self._storage.now() + self._lease_s)
            )
            if not first.rowcount:
                known: Point = renew(connection, self._storage, lease, self._lease_s).point
                return known
            if self._config.search.seeds > 1:
                self._open_replicates(connection, lease, point)
            params, distributions = params_of(self._config, point), distributions_of(self._config)
            trial_rows.set_params(connection, lease.trial_id, params, distributions)
            trial_rows.set_system_attributes(connection, lease.trial_id, attributes or {})
            return point

    def heartbeat(self, lease: Lease) -> StudyState:
        """Renew the lease and return the study's state."""
        with self._storage.write() as connection:
            renew(connection, self._storage, lease, self._lease_s)
            return self._state(connection)

    def report(
        self,
        lease: Lease,
        epoch: int,
        value: float,
        metrics: Mapping[str, float],
        attributes: Mapping[str, object] | None = None,
    ) -> StudyState:
        """Record an epoch, unless it has been recorded, and renew the lease.

        With it what was decided after it, see `wconv_sweep.search.pruning`.
        """
        with self._storage.write() as connection:
            # As `renew` does, in the same statement: each costs a round trip to the server.
            recorded = connection.execute(
                update(SLOTS)
                .where(is_of(lease), SLOTS.c.epoch < epoch)
                .values(
                    epoch=epoch,
                    value=value,
                    metrics=finite(metrics),
                    lease_until=self._storage.now() + self._lease_s,
                )
                .returning(self._of_study(STUDIES.c.state), self._of_study(STUDIES.c.config))
            ).one_or_none()
            if recorded is None:
                renew(connection, self._storage, lease, self._lease_s)
                if self.is_start_again(lease, epoch):
                    trial_rows.set_system_attribute_once(
                        connection, lease.trial_id, STARTED_AGAIN, lease.attempt
                    )
                return self._state(connection)
            trial_rows.add_intermediate_value(connection, lease.trial_id, epoch, value)
            trial_rows.set_system_attributes(connection, lease.trial_id, attributes or {})
            return self._state_of(connection, recorded.state, recorded.config)

    def is_start_again(self, lease: Lease, epoch: int) -> bool:
        """Return whether a report shows that a program of the user's did not go on where earlier
        attempts were.

        One that was killed between its first report and its checkpoint may repeat that.
        """
        return self._config.trainer is not None and epoch == 1 < lease.epoch

    def complete(
        self, lease: Lease, metrics: Mapping[str, float], provenance: Mapping[str, str]
    ) -> None:
        """End the slot with the metrics of the whole run, see `SlotEndings.complete`."""
        self._endings.complete(lease, metrics, provenance)

    def prune(self, lease: Lease) -> None:
        """End the slot as pruned, with the value of its last epoch."""
        self._endings.prune(lease)

    def interrupt(self, lease: Lease, reason: str) -> None:
        """Hand the slot back; its trial stays, and the next attempt continues it."""
        self._endings.interrupt(lease, reason)

    def break_(self, lease: Lease, failure: Broken) -> SlotState:
        """Count a broken attempt; return FAILED when it was the last, OPEN when it is tried again.

        See `SlotEndings.break_`.
        """
        return self._endings.break_(lease, failure)

    def interrupt_all_of(
        self, owner_prefix: str, reason: str, *, but: Callable[[str], bool] = lambda owner: False
    ) -> int:
        """Hand back the slots of dead workers whose owner starts with `owner_prefix`.

        Args:
            owner_prefix: of the workers.
            reason: why they are dead.
            but: returns whether an owner with this prefix is alive.
        """
        return interrupt_all_of(self._storage, self._study, owner_prefix, reason, but=but)

    def is_outdated(self, lease: Lease, epoch: int) -> bool:
        """Return whether the slot of a lost lease has ended, or got to an epoch."""
        got_so_far = or_(SLOTS.c.state.in_(ENDED), SLOTS.c.epoch >= epoch)
        with self._storage.read() as connection:
            condition = SLOTS.c.slot == lease.slot, not_(is_of(lease)), got_so_far
            return connection.scalar(select(SLOTS.c.slot).where(*condition)) is not None

    def is_abandoned(self, lease: Lease) -> bool:
        """Return whether the lease has run out, but its slot was not given to another worker."""
        with self._storage.read() as connection:
            condition = is_of(lease), ran_out(self._storage, self._lease_s)
            return connection.scalar(select(SLOTS.c.slot).where(*condition)) is not None

    def _open_replicates(self, connection: Connection, lease: Lease, point: Point) -> None:
        connection.execute(
            update(SLOTS)
            .where(
                SLOTS.c.study == self._study,
                SLOTS.c.stage == Stage.SEARCH,
                SLOTS.c.state == SlotState.CLOSED,
                SLOTS.c.position > lease.position,
                SLOTS.c.position < lease.position + self._config.search.seeds,
            )
            .values(point=point, state=SlotState.OPEN)
        )

    def _of_study(self, column: Column[str]) -> Label[str]:
        """Return a column of the study, as an expression in statements about its slots."""
        wanted = select(column).where(STUDIES.c.study == self._study)
        return wanted.scalar_subquery().label(column.name)

    def _state(self, connection: Connection) -> StudyState:
        study = study_row(connection, self._study)
        return self._state_of(connection, study.state, study.config)

    def _state_of(
        self, connection: Connection, stored: str, config: Mapping[str, Any]
    ) -> StudyState:
        """Return the study's state; CAPPED when another epoch would pass the cap."""
        state = StudyState(stored)
        if state is StudyState.ACTIVE and config["budget"].get("gpu_hours"):
            usage = usage_of(connection, self._storage.now(), self._study)
            return StudyState.CAPPED if usage.exhausted else state
        return state
