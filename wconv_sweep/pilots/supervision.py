"""What an agent does while the ranks of a lease train: it reports, renews and decides.

While the storage is away, training continues: reports are spooled, and sent in order once it is
back. Only then it shows whether the lease was lost.
"""

import logging
import time

from wconv_jobs.messages import Demand, Report, Verdict
from wconv_sweep.errors import StorageAway
from wconv_sweep.log import event
from wconv_sweep.pilots.agent_parts import AgentParts
from wconv_sweep.pilots.spool import Spool
from wconv_sweep.search.pruning import Decision
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.backoff import pauses
from wconv_sweep.storage.tables import StudyState

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
"""Time to the first new try when the storage is away, seconds."""


class Following:
    """What an agent does while the ranks of a lease train."""

    def __init__(self, parts: AgentParts, lease: Lease, spool: Spool) -> None:
        self._parts, self._lease, self._spool = parts, lease, spool
        self._metric = parts.config.objective.metric
        # Several renewals may fail before the lease runs out.
        self._heartbeat_s = parts.order.lease_s / 6
        self._began = time.monotonic()
        self._heard = False
        self._epoch = lease.epoch
        self._state = StudyState.ACTIVE
        self._stop_since: float | None = None
        self._away = False
        self._note(StudyState.ACTIVE)

    def on_report(self, report: Report) -> Verdict:
        self._time_start_up(report)
        decision = self._decide(report)
        # A resumed trial repeats the report that its checkpoint ends with.
        if report.epoch <= self._epoch and self._parts.slots.is_start_again(
            self._lease, report.epoch
        ):
            self._tell(report, decision)
        if report.epoch > self._epoch:
            self._epoch = report.epoch
            self._tell(report, decision)
            value = {self._metric: report.metrics[self._metric]}
            logger.info(
                event(
                    "epoch received",
                    trial=self._lease.trial,
                    attempt=self._lease.attempt,
                    epoch=report.epoch,
                    epoch_s=report.epoch_s,
                    **value,
                )
            )
        if decision.prune:
            return Verdict.PRUNE
        return Verdict.STOP if self.stopping else Verdict.CONTINUE

    def on_tick(self) -> Demand:
        if time.monotonic() >= self._next_s:
            self._renew()
        if not self.stopping:
            self._stop_since = None
            return Demand.GO
        if self._stop_since is None:
            self._stop_since = time.monotonic()
            logger.info(event("stopping at the next checkpoint", study=self._state))
        waited_s = time.monotonic() - self._stop_since
        if self._parts.end.is_overdue or waited_s > self._parts.order.grace_s:
            return Demand.ABORT
        return Demand.CHECKPOINT

    @property
    def stopping(self) -> bool:
        """Whether the trial was asked to end at its next checkpoint."""
        return self._parts.end.has_begun or self._state is not StudyState.ACTIVE

    @property
    def has_progressed(self) -> bool:
        """Whether the attempt has finished an epoch."""
        return self._epoch > self._lease.epoch

    def _time_start_up(self, report: Report) -> None:
        """Take the time from the start of the first attempts to their first step."""
        if self._heard:
            return
        self._heard = True
        trained_s = report.epoch_s if report.epoch > self._epoch else 0.0
        start_up_s = time.monotonic() - self._began - trained_s
        self._parts.start_up_s = max(self._parts.start_up_s, start_up_s)

    def _tell(self, report: Report, decision: Decision) -> None:
        if self._away:
            self._spool.hold(report, decision.attributes)
            return
        try:
            self._note(self._spool.put(report, decision.attributes))
        except StorageAway as error:
            self._miss(error)

    def _decide(self, report: Report) -> Decision:
        if self._away:
            return Decision(prune=False)
        value = report.metrics[self._metric]
        try:
            with self._parts.mirror_turn:
                return self._parts.pruning.decide(self._lease, report.epoch, value)
        except StorageAway:
            # The other trials are unknown, and the next epoch may be decided on again.
            return Decision(prune=False)

    def _renew(self) -> None:
        try:
            self._spool.flush()
            self._note(self._parts.slots.heartbeat(self._lease))
        except StorageAway as error:
            self._miss(error)

    def _note(self, state: object) -> None:
        assert isinstance(state, StudyState)
        if self._away:
            self._away = False
            logger.info(event("storage is back", trial=self._lease.trial))
        self._state = state
        self._pauses = pauses(FIRST_PAUSE_S, self._heartbeat_s)
        self._next_s = time.monotonic() + self._heartbeat_s

    def _miss(self, error: StorageAway) -> None:
        if not self._away:
            self._away = True
            logger.warning(event("storage is away, training continues", why=error))
        self._next_s = time.monotonic() + next(self._pauses)
