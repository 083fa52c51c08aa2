"""What an agent does while the ranks of a claim train: it reports, renews and decides.

While the storage is away, training goes on: reports are spooled, and told in order once it is
back. Whether the lease has been lost meanwhile shows then.
"""

import logging
import threading
import time

from wconv_jobs.channel import Demand, Report, Verdict
from wconv_sweep.backoff import pauses
from wconv_sweep.errors import StorageAway
from wconv_sweep.log import event
from wconv_sweep.pilot_order import PilotOrder
from wconv_sweep.pilots import PilotRecord
from wconv_sweep.pruning import Decision, Pruning
from wconv_sweep.slots import Claim, SlotTable
from wconv_sweep.spool import Spool
from wconv_sweep.study_config import StudyConfig
from wconv_sweep.tables import StudyState

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
"""Time to the first new try when the storage is away, seconds."""


class Following:
    """What an agent does while the ranks of a claim train."""

    def __init__(
        self,
        slots: SlotTable,
        claim: Claim,
        config: StudyConfig,
        pruning: Pruning,
        order: PilotOrder,
        spool: Spool,
        record: PilotRecord,
        pilot_ends: threading.Event,
    ) -> None:
        self._slots, self._claim, self._pruning = slots, claim, pruning
        self._spool, self._record = spool, record
        self._metric = config.objective.metric
        # Several renewals may fail before the lease runs out.
        self._heartbeat_s = order.lease_s / 6
        self._grace_s = order.grace_s
        self._pilot_ends = pilot_ends
        self._epoch = claim.epoch
        self._state = StudyState.ACTIVE
        self._stop_since: float | None = None
        self._away = False
        self._note(StudyState.ACTIVE)

    def on_report(self, report: Report) -> Verdict:
        decision = self._decide(report)
        # A resumed trial repeats the report that its checkpoint ends with.
        if report.epoch > self._epoch:
            self._epoch = report.epoch
            self._tell(report, decision)
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
        late = time.monotonic() - self._stop_since > self._grace_s
        return Demand.ABORT if late else Demand.CHECKPOINT

    @property
    def stopping(self) -> bool:
        """Whether the trial was asked to end at its next checkpoint."""
        return self._pilot_ends.is_set() or self._state is not StudyState.ACTIVE

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
        try:
            return self._pruning.decide(self._claim, report.epoch, report.metrics[self._metric])
        except StorageAway:
            # Nobody can tell how the others do, and the next epoch may be decided on again.
            return Decision(prune=False)

    def _renew(self) -> None:
        try:
            self._spool.flush()
            self._note(self._slots.heartbeat(self._claim))
            self._record.seen()
        except StorageAway as error:
            self._miss(error)

    def _note(self, state: object) -> None:
        assert isinstance(state, StudyState)
        if self._away:
            self._away = False
            logger.info(event("storage is back", trial=self._claim.trial))
        self._state = state
        self._pauses = pauses(FIRST_PAUSE_S, self._heartbeat_s)
        self._next_s = time.monotonic() + self._heartbeat_s

    def _miss(self, error: StorageAway) -> None:
        if not self._away:
            self._away = True
            logger.warning(event("storage is away, training goes on", why=error))
        self._next_s = time.monotonic() + next(self._pauses)
