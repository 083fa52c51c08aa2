"""The pilots of a study in SLURM's queue: submits, polls, reaps and cancels them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.errors import SlurmError
from wconv_sweep.launching.code_snapshot import freeze, frozen_code
from wconv_sweep.launching.slurm.options import batch_job, pilot_order
from wconv_sweep.launching.slurm.submission import Submission, top_up
from wconv_sweep.launching.slurm.submit_limits import SubmitLimits, submit_limits
from wconv_sweep.pilots.place import owner_in_job
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.definitions import StudyPlace
from wconv_sweep.slots.leases import interrupt_all_of
from wconv_sweep.slurm.batch import BatchJob
from wconv_sweep.slurm.clusters import HERE, Clusters, to_ask
from wconv_sweep.slurm.job import SlurmJob
from wconv_sweep.slurm.jobs import alive_among, alive_jobs, job_name
from wconv_sweep.slurm.orders import clusters_of, next_order
from wconv_sweep.slurm.queue import my_queue
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
    clusters: Clusters = HERE
    """Those that may have some."""
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
                self._ended = not alive_jobs(self.name, self.clusters)
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
            first = held[0]
            notes.append(
                f"{len(held)} of the queued ones are held, e.g. {first.name}, and do not start "
                f"by themselves: `scontrol {first.option}release {first.name}` if you held them; "
                "otherwise ask the site."
            )
        stuck = self.submission.never_start
        if stuck:
            notes.append(
                f"{len(stuck)} of the queued ones will never start, e.g. {stuck[0].name}: "
                f"{in_words(stuck[0].reason)}{stuck[0].where}."
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

    squeue is called once for each cluster, and answers how many there are, which of the study's
    slots nobody works on any more, and how much room the site's limits leave.

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
    name = job_name(config.study, place.uid)
    job = next_batch(profile, shape, config.study, place.uid, place.folder)
    order = pilot_order(profile, shape, config.study, config.trial, storage.name, place.folder)
    clusters = clusters_with(profile, place.folder)
    # One command at a time counts and submits; all login nodes share the storage.
    with storage.alone():
        queues = {cluster: my_queue(cluster) for cluster in to_ask(clusters)}
        alive = [job for queue in queues.values() for job in alive_among(queue, name)]
        reap(storage, config, alive)

        def limits() -> SubmitLimits:
            # Of a cluster that has a name and is that of this machine, the name was asked.
            queue = queues.get(profile.slurm_cluster)
            mine = my_queue(profile.slurm_cluster) if queue is None else queue
            return submit_limits(profile, shape, mine)

        submission = top_up(place.folder, wanted, order, job, alive, limits)
    return SlurmPilots(name, place.folder, submission, clusters)


def clusters_with(profile: SlurmProfile, folder: RunFolder) -> Clusters:
    """Return the clusters that a study may have pilots on: earlier ones, and the profile's."""
    return clusters_of(folder) | {profile.slurm_cluster}


def next_batch(
    profile: SlurmProfile, shape: PilotShape, study: str, uid: str, folder: RunFolder
) -> BatchJob:
    """Return the next batch job of a study, before anything is written."""
    order, _ = next_order(folder, shape.pilots, profile.slurm_cluster)
    return batch_job(profile, shape, job_name(study, uid), folder, frozen_code(folder), order)


def reap(storage: Storage, config: StudyConfig, alive: Sequence[SlurmJob]) -> int:
    """Hand back the slots of jobs that are gone from the queue; return how many.

    Args:
        storage: holds the study.
        config: of the study.
        alive: its jobs on all of its clusters.
    """
    # An agent whose order names no cluster may be that of any job of its number.
    living = tuple(
        owner_in_job(job.name, cluster) for job in alive for cluster in {job.cluster, None}
    )
    return interrupt_all_of(
        storage,
        config.study,
        "slurm-",
        "its job has ended",
        but=lambda owner: owner.startswith(living),
    )
