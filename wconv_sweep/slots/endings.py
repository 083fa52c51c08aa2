"""How the attempt at a slot ends, and with it often the slot."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, select

from wconv_jobs.messages import Broken
from wconv_sweep.evidence.accounting import slot_gpu_hours
from wconv_sweep.slots.breaker import DIVERGED, is_hopeless, maybe_break
from wconv_sweep.slots.leases import (
    Lease,
    LeaseLost,
    close_attempt,
    closing,
    has_ended,
    leaving,
    renew,
    reopen,
    set_state,
    study_row,
)
from wconv_sweep.slots.provenance import Provenance
from wconv_sweep.storage import trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SLOTS, AttemptOutcome, SlotState
from wconv_sweep.storage.together import execute_together
from wconv_sweep.study.config import StudyConfig


class SlotEndings:
    """Ends attempts at the slots of one study; see `SlotTable` for the arguments."""

    def __init__(
        self, storage: Storage, config: StudyConfig, *, lease_s: float, provenance: Provenance
    ) -> None:
        self._storage = storage
        self._config = config
        self._study = config.study
        self._lease_s = lease_s
        self._provenance = provenance

    def complete(
        self, lease: Lease, metrics: Mapping[str, float], provenance: Mapping[str, str]
    ) -> None:
        """End the slot with the metrics of the whole run.

        Its value is the objective among them: that of the weights that were tested, which with
        early stopping are not those of the last epoch.
        """
        with self._storage.write() as connection:
            row = self._begin_end(connection, lease, AttemptOutcome.COMPLETE)
            if row is None:
                return
            merged = (row.metrics or {}) | finite(metrics)
            value = merged.get(self._config.objective.metric, row.value)
            whole = dict(self._provenance) | dict(provenance)
            attributes = merged | dict(provenance) | self._cost(connection, lease)
            slot, attempt, outcome = lease.slot, lease.attempt, AttemptOutcome.COMPLETE
            kept = {"value": value, "metrics": merged, "provenance": whole}
            execute_together(
                connection,
                closing(slot, attempt, outcome, self._storage.now(), provenance=whole),
                leaving(slot, SlotState.COMPLETE, **kept),
                *trial_rows.finishing(lease.trial_id, TrialState.COMPLETE, value, attributes),
            )

    def prune(self, lease: Lease) -> None:
        """End the slot as pruned, with the value of its last epoch."""
        with self._storage.write() as connection:
            row = self._begin_end(connection, lease, AttemptOutcome.PRUNED)
            if row is None:
                return
            slot, attempt, outcome = lease.slot, lease.attempt, AttemptOutcome.PRUNED
            execute_together(
                connection,
                closing(slot, attempt, outcome, self._storage.now()),
                leaving(slot, SlotState.PRUNED),
                *trial_rows.finishing(lease.trial_id, TrialState.PRUNED, row.value),
            )

    def interrupt(self, lease: Lease, reason: str) -> None:
        """Hand the slot back; its trial stays, and the next attempt continues it."""
        with self._storage.write() as connection:
            if (
                self._begin_end(connection, lease, AttemptOutcome.INTERRUPTED, reason=reason)
                is not None
            ):
                reopen(connection, self._storage, lease.slot, lease.attempt, reason)

    def break_(self, lease: Lease, failure: Broken) -> SlotState:
        """Count a broken attempt; return FAILED when it was the last, OPEN when it is tried again.

        The same failure `budget.breaker_failures` times breaks the study; once a trial has
        completed, in as many slots. A diverged training says
        something about its density, not about the study, unless nothing has completed yet. Any
        other failure that a repetition cannot mend, such as images that are gone, breaks the study
        at once and leaves the slot open: each further trial would only fail in the same way.
        """
        budget = self._config.budget
        cause = {"error": failure.error, "where": failure.where, "reason": failure.reason}
        with self._storage.write() as connection:
            # Of several failures at once the last one must count the others.
            study = study_row(connection, self._study, lock=True)
            row = self._begin_end(connection, lease, AttemptOutcome.BROKEN, **cause)
            if row is None:
                known = select(SLOTS).where(SLOTS.c.slot == lease.slot)
                ended = connection.execute(known).one()
                failed = ended.state == SlotState.FAILED and ended.attempt == lease.attempt
                return SlotState.FAILED if failed else SlotState.OPEN
            close_attempt(
                connection,
                self._storage,
                lease.slot,
                lease.attempt,
                AttemptOutcome.BROKEN,
                traceback=failure.traceback,
                **cause,
            )
            maybe_break(connection, study, failure, budget.breaker_failures)
            broken = row.broken + (0 if is_hopeless(failure) else 1)
            diverged = failure.error == DIVERGED
            if is_hopeless(failure) or (not diverged and broken < budget.max_attempts):
                set_state(connection, lease.slot, SlotState.OPEN, broken=broken)
                return SlotState.OPEN
            reason = f"{failure.error}: {failure.reason}"
            attributes = {trial_rows.FAILED: reason}
            execute_together(
                connection,
                leaving(lease.slot, SlotState.FAILED, broken=broken, reason=reason),
                *trial_rows.finishing(lease.trial_id, TrialState.FAIL, None, attributes),
            )
            return SlotState.FAILED

    def _begin_end(
        self, connection: Connection, lease: Lease, outcome: AttemptOutcome, **equal: str
    ) -> Row[Any] | None:
        """Return the slot whose attempt is to end; None when it has ended in this very way."""
        try:
            return renew(connection, self._storage, lease, self._lease_s)
        except LeaseLost:
            if has_ended(connection, lease, outcome, **equal):
                return None
            raise

    def _cost(self, connection: Connection, lease: Lease) -> dict[str, float]:
        """Return the usage of all attempts; empty if no GPU was used."""
        hours = slot_gpu_hours(connection, self._storage.now(), lease.slot)
        return {"gpu_hours": round(hours, 6)} if hours else {}


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leave out values that JSON cannot hold; a missing metric is undefined for these data."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
