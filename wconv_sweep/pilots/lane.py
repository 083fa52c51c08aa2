"""A lane: one of the trials that an agent trains side by side."""

import contextlib
import logging
from collections.abc import Callable

from wconv_jobs.errors import CheckpointError
from wconv_jobs.messages import Broken, Finished
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks import run as ranks
from wconv_jobs.ranks.placement import NodeCommand, Placement
from wconv_jobs.spec import CHECKPOINT_FILE, TrialSpec
from wconv_sweep.errors import StorageAway
from wconv_sweep.log import event
from wconv_sweep.pilots.agent_parts import AgentParts
from wconv_sweep.pilots.node_share import LaneShare
from wconv_sweep.pilots.slurm_pilot import on_node
from wconv_sweep.pilots.spool import Spool, adopt
from wconv_sweep.pilots.supervision import Following
from wconv_sweep.search.sampling import propose
from wconv_sweep.slots.table import Lease, LeaseLost
from wconv_sweep.storage.slot_plan import ablation_of
from wconv_sweep.study.point import Point
from wconv_sweep.study.program_trial import program_trial
from wconv_sweep.study.trial_spec import trial_spec

logger = logging.getLogger(__name__)

NO_CHECKPOINT = "NoCheckpoint"
"""Error of an attempt that was asked to end at a checkpoint and reached none in time."""


class Lane:
    """Trains the trials of one lease after another on its share of the node."""

    def __init__(self, parts: AgentParts, number: int, on_first_step: Callable[[], None]) -> None:
        """
        Args:
            parts: of the agent.
            number: of the lane, from 0.
            on_first_step: called, in the thread of the lane, once a trial has taken a step.
        """
        self.number = number
        self.has_stepped = False
        """Whether its trial has taken a step."""
        self._on_first_step = on_first_step
        self._parts = parts
        self._share: LaneShare = parts.share.lanes[number]

    def train(self, lease: Lease) -> None:
        """Train the trial of a lease to its end, and tell the storage how it ended."""
        parts = self._parts
        metric = parts.config.objective.metric
        spool = Spool(parts.slots, lease, metric, parts.folder)
        try:
            lease = parts.storage.retrying(
                lambda: adopt(parts.slots, lease, metric, parts.folder),
                patience_s=parts.end.patience_s,
                wait=parts.end.wait,
            )
            try:
                result = self._attempt(lease, spool)
            except (LeaseLost, StorageAway):
                raise
            except Exception as error:
                # Counted, with its traceback. If it escaped, every next pilot would lease the
                # slot, end in the same way, and no one would see why.
                logger.exception(event("agent failed", trial=lease.trial))
                result = Broken.of(error, rank=0)
            self._finish(lease, result, spool)
        except LeaseLost as error:
            # The successor on this slot reports what is missing.
            logger.warning(event("lease lost, trial ended", trial=lease.trial, lease=error))
        except StorageAway as error:
            # The successor on this slot finds the spool and the checkpoint.
            logger.warning(
                event("storage is away, trial left to others", trial=lease.trial, why=error)
            )
        finally:
            self.has_stepped = False

    def _attempt(self, lease: Lease, spool: Spool) -> Finished | Broken:
        parts = self._parts
        point = lease.point or parts.storage.retrying(
            lambda: self._propose(lease), patience_s=parts.end.patience_s, wait=parts.end.wait
        )
        logs = parts.folder.attempt_logs(lease.trial, lease.attempt)
        logger.info(
            event(
                "trial started",
                trial=lease.trial,
                attempt=lease.attempt,
                density=point.density,
                **dict(point.settings),
                logs=logs,
            )
        )
        following = Following(parts, lease, spool)
        stopped = Finished(ending="stopped", epoch=lease.epoch, metrics={}, provenance={})
        try:
            result = ranks.run_ranks(
                self._spec(lease, point),
                placement=self._placement(),
                log_folder=logs,
                on_report=following.on_report,
                on_tick=following.on_tick,
                on_first_step=self._note_first_step,
            )
        except ranks.RanksAborted:
            # The work of its ranks since the last checkpoint is lost.
            return stopped if following.has_progressed else _without_checkpoint(parts, stopped)
        if isinstance(result, Broken) and _is_silent_death(result) and parts.end.signaled:
            # SLURM's signals, and the end of a job, reach every process.
            logger.info(event("ranks ended with the pilot", trial=lease.trial, how=result.reason))
            return stopped
        if isinstance(result, Finished) and result.ending == "stopped" and not following.stopping:
            # The ranks themselves saw that the time for training is over.
            parts.end.begin()
        return result

    def _note_first_step(self) -> None:
        self.has_stepped = True
        self._on_first_step()

    def _propose(self, lease: Lease) -> Point:
        parts = self._parts
        with parts.mirror_turn:
            proposal = propose(parts.config, parts.mirrors[lease.arm], lease.trial, lease.position)
        return parts.slots.set_point(lease, proposal.point, proposal.attributes)

    def _placement(self) -> Placement:
        place, devices = self._parts.place, self._share.devices
        others = [place.hosts[node] for node in self._parts.share.group[1:]]
        return Placement(
            self._parts.config.trial.ranks,
            devices,
            tuple(NodeCommand(on_node(host), devices) for host in others),
            address=place.host if others else "",
            trials_per_gpu=self._parts.config.trial.per_gpu,
        )

    def _spec(self, lease: Lease, point: Point) -> TrialSpec | ProgramTrial:
        if self._parts.config.trainer is not None:
            return program_trial(
                self._parts.config,
                point,
                lease.replicate,
                self._parts.folder.trial(lease.trial),
                threads_per_rank=self._share.threads_per_rank,
                deadline_s=self._parts.end.training_ends_s,
            )
        return trial_spec(
            self._parts.config,
            point,
            lease.replicate,
            self._parts.folder.trial(lease.trial),
            ablation=ablation_of(lease.stage, lease.label),
            threads_per_rank=self._share.threads_per_rank,
            deadline_s=self._parts.end.training_ends_s,
        )

    def _finish(self, lease: Lease, result: Finished | Broken, spool: Spool) -> None:
        """Report the end of an attempt to the storage."""
        parts = self._parts
        unusable = parts.folder.trial(lease.trial) / CHECKPOINT_FILE
        if isinstance(result, Broken) and result.error == CheckpointError.__name__:
            # The next attempt trains from the start, to the same numbers.
            with contextlib.suppress(FileNotFoundError):
                unusable.rename(unusable.with_suffix(".unusable"))
        spool.hold(result)
        state = parts.storage.retrying(
            spool.flush, patience_s=parts.end.patience_s, wait=parts.end.wait
        )
        if isinstance(result, Broken):
            logger.error(
                event(
                    "trial broken",
                    trial=lease.trial,
                    attempt=lease.attempt,
                    slot=state,
                    error=result.error,
                    where=result.where,
                    reason=result.reason,
                )
            )
            return
        logger.info(
            event(
                f"trial {result.ending}", trial=lease.trial, epochs=result.epoch, **result.metrics
            )
        )


def _is_silent_death(result: Broken) -> bool:
    return result.error == "RankDied"


def _without_checkpoint(parts: AgentParts, stopped: Finished) -> Finished | Broken:
    """Count an attempt that will end like this each time; one that its user ended is free."""
    if not parts.end.time_is_up:
        return stopped
    grace_s = parts.order.grace_s
    return Broken(
        rank=0,
        error=NO_CHECKPOINT,
        reason=(
            f"no checkpoint before the pilot's time was up, and none in the {grace_s:g} s of "
            "grace_s after it. Raise walltime_min or grace_s in the cluster profile."
        ),
        where="pilot",
        traceback="",
    )
