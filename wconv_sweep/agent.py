"""The agent: the process of a pilot that claims slots and starts the ranks of their trials."""

import contextlib
import fcntl
import logging
import os
import platform
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from optuna.storages import BaseStorage, get_storage
from pydantic import Field
from sqlalchemy import make_url

from wconv_jobs.channel import Broken, Finished, Report, Verdict
from wconv_jobs.errors import CheckpointError
from wconv_jobs.spec import CHECKPOINT_FILE, Spec, TrialSpec
from wconv_sweep.log import configure_agent_logging, event
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.search_space import distributions_of, propose
from wconv_sweep.slots import Claim, LeaseLost, NoSlot, SlotTable
from wconv_sweep.storage import Storage, open_storage
from wconv_sweep.studies import load_config, optuna_client
from wconv_sweep.study_config import StudyConfig
from wconv_sweep.tables import StudyState

logger = logging.getLogger(__name__)

WAIT_S = 2.0
"""Pause before an agent without work asks again, seconds."""
PATIENCE = 10
"""Tries to get a pilot's lock, 0.1 s apart."""


class PilotOrder(Spec):
    """What a pilot is told when it starts; a file, so that nothing secret stands in argv."""

    study: str
    storage: str
    """URL; never with a password."""
    run_folder: Path = Field(strict=False)
    pilot: int
    """Number of the pilot within the study, from 0."""
    lease_s: float
    grace_s: float
    walltime_s: float
    """Time from the pilot's start to its end."""


def run_pilot(order_path: str) -> None:
    """Work through the slots of a study until its budget, or the pilot's time, ends.

    A pilot holds a lock on its number. Whoever gets the lock knows that the pilot before is dead,
    so its slots are handed back at once; a second pilot of the same number ends.

    Args:
        order_path: file with a `PilotOrder`.
    """
    configure_agent_logging()
    order = PilotOrder.model_validate_json(Path(order_path).read_text("utf-8"))
    with _pilot_lock(order) as locked:
        if not locked:
            logger.info(event("pilot is already running", pilot=order.pilot))
            return
        storage = open_storage(make_url(order.storage))
        try:
            _Agent(order, storage).work()
        finally:
            storage.close()


def is_running(folder: RunFolder, pilot: int) -> bool:
    """Tell whether a pilot of this number is at work on this machine."""
    path = _lock_path(folder, pilot)
    if not path.exists():
        return False
    with path.open("r") as file:
        try:
            # Shared: two commands that look at the same time do not take each other for a pilot.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class _Agent:
    def __init__(self, order: PilotOrder, storage: Storage) -> None:
        self._order = order
        self._folder = RunFolder(order.run_folder)
        self._config: StudyConfig = load_config(storage, order.study)
        self._slots = SlotTable(storage, self._config, lease_s=order.lease_s)
        # The cached client: a proposal reads what is new since the last one.
        self._optuna: BaseStorage = get_storage(optuna_client(storage))
        place = f"{platform.node()}/pilot-{order.pilot}/"
        self._owner = f"{place}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        freed = self._slots.interrupt_all_of(place, "its pilot died")
        logger.info(event("pilot started", study=order.study, owner=self._owner, freed=freed))
        self._training_ends_s = time.time() + order.walltime_s - order.grace_s
        self._stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._on_signal)

    def work(self) -> None:
        """Claim and train until there is nothing left to claim."""
        while not self._stop.is_set() and time.time() < self._training_ends_s:
            claim = self._slots.claim(self._owner)
            if claim is NoSlot.END:
                break
            if isinstance(claim, Claim):
                self._train(claim)
            else:
                self._stop.wait(WAIT_S)
        logger.info(event("pilot ended", stopped=self._stop.is_set()))

    def _train(self, claim: Claim) -> None:
        try:
            self._attempt(claim)
        except LeaseLost as error:
            logger.warning(event("lease lost, trial ended", lease=error))
        except Exception as error:
            # Counted, with its traceback. If it escaped, every next pilot would claim the slot,
            # end in the same way, and nobody would see why. A storage that is the cause raises
            # here again, and ends the pilot.
            logger.exception(event("agent failed", trial=claim.trial))
            with contextlib.suppress(LeaseLost):
                self._slots.break_(claim, Broken.of(error, rank=0))

    def _attempt(self, claim: Claim) -> None:
        # Imported here: it loads torch, which no command on a login node should wait for.
        from wconv_jobs.ranks import RanksAborted, run_ranks

        density = claim.density or self._propose(claim)
        logger.info(
            event("trial started", trial=claim.trial, attempt=claim.attempt, density=density)
        )
        following = _Following(self._slots, claim, self._config, self._order, self._stop)
        try:
            result: Finished | Broken = run_ranks(
                self._spec(claim, density),
                ranks=self._config.trial.ranks,
                log_folder=self._folder.attempt_logs(claim.trial, claim.attempt),
                on_report=following.on_report,
                on_tick=following.on_tick,
            )
        except RanksAborted:
            self._slots.interrupt(claim, "stopped before its next checkpoint")
            logger.info(event("trial aborted", trial=claim.trial))
            return
        self._finish(claim, result)
        if isinstance(result, Finished) and result.ending == "stopped" and not following.stopping:
            # The ranks themselves saw that another epoch would not end in time.
            self._stop.set()

    def _propose(self, claim: Claim) -> tuple[float, ...]:
        density = propose(self._config, self._optuna, claim.trial_id, claim.position)
        self._slots.set_density(claim, density, distributions_of(self._config))
        return density

    def _spec(self, claim: Claim, density: tuple[float, ...]) -> TrialSpec:
        config = self._config
        return TrialSpec(
            model=config.model,
            data=config.data,
            recipe=config.recipe,
            density=density,
            study_seed=config.seed,
            replicate=claim.replicate,
            threads_per_rank=config.trial.threads_per_rank,
            checkpoint_folder=self._folder.trial(claim.trial),
            deadline_s=self._training_ends_s,
        )

    def _finish(self, claim: Claim, result: Finished | Broken) -> None:
        if isinstance(result, Broken):
            if result.error == CheckpointError.__name__:
                # The next attempt trains from the start, to the same numbers.
                unusable = self._folder.trial(claim.trial) / CHECKPOINT_FILE
                with contextlib.suppress(FileNotFoundError):
                    unusable.rename(unusable.with_suffix(".unusable"))
            state = self._slots.break_(claim, result)
            logger.error(
                event(
                    "trial broken",
                    trial=claim.trial,
                    attempt=claim.attempt,
                    slot=state,
                    error=result.error,
                    where=result.where,
                    message=result.message,
                )
            )
            return
        if result.ending == "complete":
            self._slots.complete(claim, result.metrics, result.provenance)
        elif result.ending == "pruned":
            self._slots.prune(claim)
        else:
            self._slots.interrupt(claim, "stopped at a checkpoint")
        logger.info(
            event(
                f"trial {result.ending}", trial=claim.trial, epochs=result.epoch, **result.metrics
            )
        )

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if not self._stop.is_set():
            self._stop.set()
            logger.info(event("stopping", signal=signal.Signals(number).name))


class _Following:
    """What an agent does while the ranks of a claim train."""

    def __init__(
        self,
        slots: SlotTable,
        claim: Claim,
        config: StudyConfig,
        order: PilotOrder,
        pilot_ends: threading.Event,
    ) -> None:
        self._slots, self._claim = slots, claim
        self._metric = config.objective.metric
        # Several renewals may fail before the lease runs out.
        self._heartbeat_s = order.lease_s / 6
        self._grace_s = order.grace_s
        self._pilot_ends = pilot_ends
        self._epoch = claim.epoch
        self._renewed = time.monotonic()
        self._state = StudyState.ACTIVE
        self._stop_since: float | None = None

    def on_report(self, report: Report) -> Verdict:
        # A resumed trial repeats the report that its checkpoint ends with.
        if report.epoch > self._epoch:
            value = report.metrics[self._metric]
            state = self._slots.report(self._claim, report.epoch, value, report.metrics)
            self._epoch = report.epoch
            self._note(state)
        return Verdict.STOP if self.stopping else Verdict.CONTINUE

    def on_tick(self) -> bool:
        if time.monotonic() - self._renewed >= self._heartbeat_s:
            self._note(self._slots.heartbeat(self._claim))
        if not self.stopping:
            self._stop_since = None
            return True
        if self._stop_since is None:
            self._stop_since = time.monotonic()
            logger.info(event("stopping at the next checkpoint", study=self._state))
        return time.monotonic() - self._stop_since <= self._grace_s

    @property
    def stopping(self) -> bool:
        """Whether the trial was asked to end at its next checkpoint."""
        return self._pilot_ends.is_set() or self._state is not StudyState.ACTIVE

    def _note(self, state: StudyState) -> None:
        self._renewed = time.monotonic()
        self._state = state


@contextlib.contextmanager
def _pilot_lock(order: PilotOrder) -> Iterator[bool]:
    path = _lock_path(RunFolder(order.run_folder), order.pilot)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        # `is_running` holds the lock for a moment when it looks.
        for _ in range(PATIENCE):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                threading.Event().wait(0.1)
            else:
                yield True
                return
        yield False


def _lock_path(folder: RunFolder, pilot: int) -> Path:
    return folder.pilots / f"pilot_{pilot}.lock"
