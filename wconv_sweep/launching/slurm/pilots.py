"""The pilots of a study in SLURM's queue: submits, polls, reaps and cancels them."""

import time
from dataclasses import dataclass

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.errors import SlurmError
from wconv_sweep.launching.code_snapshot import freeze, frozen_code
from wconv_sweep.launching.slurm.options import batch_job, pilot_order
from wconv_sweep.launching.slurm.submission import Submission, top_up
from wconv_sweep.launching.slurm.submit_limits import submit_limits
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.definitions import StudyPlace
from wconv_sweep.slots.table import SlotTable
from wconv_sweep.slurm.batch import BatchJob
from wconv_sweep.slurm.jobs import SlurmView, alive_jobs, job_name
from wconv_sweep.slurm.orders import next_order
from wconv_sweep.slurm.reasons import in_words
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig

LOOK_S = 30.0
"""Minimum time between two queries of squeue, seconds."""


@dataclass
class SlurmPilots:
    """The pilots of a study in SLURM's queue."""

    name: str
    """Of their jobs."""
    folder: RunFolder
    submission: Submission
    goes_on: bool = True
    """Whether the study runs on without the command that follows it."""
    _looked_s: float = float("-inf")
    _ended: bool = False

    @property
    def started(self) -> int:
        """Number of pilots that this command has submitted."""
        return self.submission.submitted

    def all_ended(self) -> bool:
        """Return whether no pilot is queued or running; asks SLURM only now and then."""
        if time.monotonic() - self._looked_s >= LOOK_S:
            try:
                self._ended = not alive_jobs(self.name)
            except SlurmError:
                # Their state is known again once the controller is back.
                self._ended = False
            self._looked_s = time.monotonic()
        return self._ended

    def notes(self) -> list[str]:
        """Return notes for the user about the submitted pilots."""
        made, there = self.submission.submitted, self.submission.alive_before
        notes = [
            f"{made} pilot(s) submitted"
            + (f", {there} already queued or running" if there else "")
        ]
        held = self.submission.held
        if held:
            notes.append(
                f"{len(held)} of the queued ones are held, e.g. {held[0]}, and do not start "
                f"by themselves: `scontrol release {held[0]}` if you held them; otherwise "
                "ask the site."
            )
        stuck = self.submission.never_start
        if stuck:
            notes.append(
                f"{len(stuck)} of the queued ones will never start, e.g. {stuck[0].name}: "
                f"{in_words(stuck[0].reason)}."
            )
        if self.submission.submitted and self.submission.beyond_limits:
            notes.append(
                "SLURM has taken them, and they will never start unless the site makes an "
                f"exception: {' '.join(self.submission.beyond_limits)} Cancel them with scancel "
                "before you launch again."
            )
        if self.submission.missing:
            notes.append(
                f"{self.submission.missing} more were requested, but {self.submission.held_back}. "
                "Launch again once some have ended."
            )
        return notes

    def logs(self) -> list[str]:
        """Return the files that pilots log to."""
        return [str(self.folder.pilots / "*_log.err")]


def start_slurm(
    profile: SlurmProfile,
    shape: PilotShape,
    config: StudyConfig,
    place: StudyPlace,
    storage: Storage,
    wanted: int,
) -> SlurmPilots:
    """Submit missing pilots of a study, so that `wanted` are queued or running.

    Args:
        profile: of the site.
        shape: of each pilot.
        config: of the study.
        place: of the study.
        storage: holds the study.
        wanted: number of pilots to keep.

    Raises:
        SlurmError: the site takes none, or does not answer.
    """
    freeze(place.folder)
    job = next_batch(profile, shape, config.study, place.uid, place.folder)
    order = pilot_order(profile, shape, config.study, config.trial, storage.name, place.folder)
    submission = top_up(
        storage, place.folder, wanted, order, job, limits=lambda: submit_limits(profile, shape)
    )
    return SlurmPilots(job.name, place.folder, submission)


def next_batch(
    profile: SlurmProfile, shape: PilotShape, study: str, uid: str, folder: RunFolder
) -> BatchJob:
    """Return the next batch job of a study, before anything is written."""
    order, _ = next_order(folder, shape.pilots)
    return batch_job(profile, shape, job_name(study, uid), folder, frozen_code(folder), order)


def reap(storage: Storage, config: StudyConfig, view: SlurmView) -> int:
    """Hand back the slots of jobs that are gone from the queue; return how many.

    Nothing is handed back while it is unknown which jobs live; the leases expire anyway.
    """
    if not view.known:
        return 0
    living = tuple(f"slurm-{job.name}/" for job in view.alive)
    slots = SlotTable(storage, config, lease_s=1.0, gpus_per_trial=0, provenance={})
    return slots.interrupt_all_of(
        "slurm-", "its job has ended", but=lambda owner: owner.startswith(living)
    )
