"""The agent: the process of a pilot that claims slots and starts the ranks of their trials."""

import contextlib
import fcntl
import logging
import os
import platform
import secrets
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from sqlalchemy import make_url

from wconv_jobs.channel import Broken, Finished
from wconv_jobs.errors import CheckpointError
from wconv_jobs.placement import Placement
from wconv_jobs.spec import CHECKPOINT_FILE, TrialSpec
from wconv_sweep.errors import ConfigurationError, StorageAway
from wconv_sweep.following import Following
from wconv_sweep.log import configure_agent_logging, event
from wconv_sweep.pilot_order import PilotOrder
from wconv_sweep.pilots import PilotRecord
from wconv_sweep.provenance import place, program_of, provenance_of
from wconv_sweep.pruning import Pruning
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.sampling import propose
from wconv_sweep.search_space import distributions_of
from wconv_sweep.slots import Claim, LeaseLost, NoSlot, SlotTable
from wconv_sweep.spool import Spool, replay
from wconv_sweep.storage import Storage, open_storage
from wconv_sweep.studies import load_frozen_config
from wconv_sweep.study_config import StudyConfig
from wconv_sweep.trial_mirror import TrialMirror

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S = 2.0
"""Pause before an agent without work asks again, seconds."""
START_PATIENCE_S = 600.0
"""Time that a pilot waits for its storage before it has begun, seconds; its GPUs are idle."""
PATIENCE = 10
"""Tries to get a pilot's lock, 0.1 s apart."""


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
        try:
            storage = open_storage(make_url(order.storage), patience_s=START_PATIENCE_S)
        except StorageAway as error:
            logger.error(event("storage is away, pilot ends", why=error))
            return
        try:
            _Agent(order, storage).work()
        except StorageAway as error:
            logger.error(event("storage is away, pilot ends", why=error))
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
        self._order, self._storage = order, storage
        self._folder = RunFolder(order.run_folder)
        self._config: StudyConfig = load_frozen_config(storage, order.study)
        self._slots = SlotTable(
            storage,
            self._config,
            lease_s=order.lease_s,
            gpus=self._config.trial.ranks if order.gpus else 0,
            provenance=_origin(self._config),
        )
        # Kept: each proposal and decision reads what is new since the last one.
        self._mirror = TrialMirror(storage, self._config)
        self._pruning = Pruning(self._config, self._mirror)
        self._place = f"{platform.node()}/pilot-{order.pilot}/"
        self._owner = f"{self._place}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._training_ends_s = time.time() + order.walltime_s - order.grace_s
        self._stop = threading.Event()
        self._stopped_s = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._on_signal)

    def work(self) -> None:
        """Claim and train until there is nothing left to claim."""
        self._record = self._outlast(self._begin)
        logger.info(event("pilot started", study=self._order.study, owner=self._owner))
        why = "it was asked to stop, or its time is up"
        nonce = secrets.token_hex(4)
        while not self._stop.is_set() and time.time() < self._training_ends_s:
            claim = self._claim(nonce)
            if isinstance(claim, Claim):
                # A nonce of its own for each claim: see `SlotTable.claim_many`.
                nonce = secrets.token_hex(4)
                self._train(claim)
            elif claim is None or claim is NoSlot.WAIT:
                self._stop.wait(WAIT_S)
            else:
                why = claim.value
                break
        with contextlib.suppress(StorageAway):
            self._record.end()
        logger.info(event("pilot ended", why=why))

    def _begin(self) -> PilotRecord:
        """Tell the storage that this pilot is there, and what the one before left behind."""
        order = self._order
        record = PilotRecord(self._storage, order.study, order.pilot, gpus=order.gpus)
        self._replay()
        freed = self._slots.interrupt_all_of(self._place, "its pilot died")
        if freed:
            logger.info(event("trials of a dead pilot handed back", trials=freed))
        return record

    def _claim(self, nonce: str) -> Claim | NoSlot | None:
        """Return the next claim; None while the storage is away."""
        try:
            self._replay()
            claim = self._slots.claim(self._owner, nonce=nonce)
            self._record.seen()
        except StorageAway as error:
            logger.warning(event("storage is away, nothing claimed", why=error))
            return None
        return claim

    def _replay(self) -> None:
        metric = self._config.objective.metric
        replayed = replay(self._slots, metric, self._folder, own_prefix=self._place)
        if replayed:
            logger.info(event("reports of dead agents handed over", attempts=replayed))

    def _train(self, claim: Claim) -> None:
        spool = Spool(self._slots, claim, self._config.objective.metric, self._folder)
        try:
            try:
                result = self._attempt(claim, spool)
            except (LeaseLost, StorageAway):
                raise
            except Exception as error:
                # Counted, with its traceback. If it escaped, every next pilot would claim the
                # slot, end in the same way, and nobody would see why.
                logger.exception(event("agent failed", trial=claim.trial))
                result = Broken.of(error, rank=0)
            self._finish(claim, result, spool)
        except LeaseLost as error:
            spool.discard()
            logger.warning(event("lease lost, trial ended", lease=error))
        except StorageAway as error:
            # Whoever continues the slot finds the spool, and the checkpoint.
            logger.warning(event("storage is away, trial left to others", why=error))

    def _attempt(self, claim: Claim, spool: Spool) -> Finished | Broken:
        # Imported here: it loads torch, which no command on a login node should wait for.
        from wconv_jobs.ranks import RanksAborted, run_ranks

        density = claim.density or self._outlast(lambda: self._propose(claim))
        logger.info(
            event("trial started", trial=claim.trial, attempt=claim.attempt, density=density)
        )
        following = Following(
            self._slots,
            claim,
            self._config,
            self._pruning,
            self._order,
            spool,
            self._record,
            self._stop,
        )
        try:
            result = run_ranks(
                self._spec(claim, density),
                placement=self._placement,
                log_folder=self._folder.attempt_logs(claim.trial, claim.attempt),
                on_report=following.on_report,
                on_tick=following.on_tick,
            )
        except RanksAborted:
            # What its ranks have done since the last checkpoint is lost.
            return Finished(ending="stopped", epoch=claim.epoch, metrics={}, provenance={})
        if isinstance(result, Finished) and result.ending == "stopped" and not following.stopping:
            # The ranks themselves saw that another epoch would not end in time.
            self._stop.set()
        return result

    @property
    def _placement(self) -> Placement:
        ranks = self._config.trial.ranks
        return Placement(ranks, devices=tuple(range(ranks)) if self._order.gpus else ())

    def _propose(self, claim: Claim) -> tuple[float, ...]:
        proposal = propose(self._config, self._mirror, claim.trial, claim.position)
        return self._slots.set_density(
            claim, proposal.density, distributions_of(self._config), proposal.attributes
        )

    def _outlast(self, function: Callable[[], T]) -> T:
        """Repeat a function while the storage is away, as long as the pilot has time."""
        return self._storage.retrying(
            function, patience_s=max(0.0, self._time_left_s), wait=self._wait
        )

    @property
    def _time_left_s(self) -> float:
        """Until the pilot must end; part of its grace is for what comes after."""
        return self._training_ends_s + self._order.grace_s / 2 - time.time()

    def _wait(self, pause_s: float) -> bool:
        """Let time pass; tell whether the pilot was asked to stop for too long already."""
        if self._stop.is_set():
            threading.Event().wait(pause_s)
            return time.monotonic() - self._stopped_s > self._order.grace_s / 2
        self._stop.wait(pause_s)
        return False

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
            code_folder=config.code_folder,
            deadline_s=self._training_ends_s,
        )

    def _finish(self, claim: Claim, result: Finished | Broken, spool: Spool) -> None:
        """Tell the storage how an attempt ended."""
        unusable = self._folder.trial(claim.trial) / CHECKPOINT_FILE
        if isinstance(result, Broken) and result.error == CheckpointError.__name__:
            # The next attempt trains from the start, to the same numbers.
            with contextlib.suppress(FileNotFoundError):
                unusable.rename(unusable.with_suffix(".unusable"))
        spool.hold(result)
        state = self._outlast(spool.flush)
        if isinstance(result, Broken):
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
        logger.info(
            event(
                f"trial {result.ending}", trial=claim.trial, epochs=result.epoch, **result.metrics
            )
        )

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if not self._stop.is_set():
            self._stopped_s = time.monotonic()
            self._stop.set()
            logger.info(event("stopping", signal=signal.Signals(number).name))


def _origin(config: StudyConfig) -> dict[str, Any]:
    try:
        return provenance_of(config) | place()
    except ConfigurationError as error:
        # Its trial will break for the same reason, and the study say so.
        logger.warning(event("data cannot be looked at", why=error))
        return program_of(config) | place()


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
