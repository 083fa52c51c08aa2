"""Starts the pilots of a study with the launcher that the cluster's profile names."""

import math
from dataclasses import dataclass, replace
from typing import Protocol

from wconv_sweep.clusters.billing import Cost, cost_of, projected_cost
from wconv_sweep.clusters.lint import Findings, folder_advice, lint, nodes_of_trial
from wconv_sweep.clusters.pilot_request import PilotRequest, PilotShape, resolve_request
from wconv_sweep.clusters.profile import ClusterProfile, LocalProfile, SlurmProfile
from wconv_sweep.errors import ConfigurationError, SlurmAway, SlurmError
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.launching.local_pilots import local_order, order_path, start_local
from wconv_sweep.launching.preview import Preview
from wconv_sweep.launching.slurm.asking import ask_for_pilots
from wconv_sweep.launching.slurm.options import pilot_order, trials_at_once
from wconv_sweep.launching.slurm.pilots import clusters_with, next_batch, start_slurm
from wconv_sweep.pilots.command import pilot_command
from wconv_sweep.pilots.machine import room_of_pilot
from wconv_sweep.pilots.node_share import LaneShare, share_of
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.definitions import StudyPlace
from wconv_sweep.slurm.batch import batch_script
from wconv_sweep.slurm.clusters import not_followed
from wconv_sweep.slurm.jobs import alive_jobs, job_name
from wconv_sweep.slurm.refusals import too_many
from wconv_sweep.slurm.sbatch_options import shown_option
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import StudyConfig, TrialShape


class Pilots(Protocol):
    """The pilots of a study, including those that this command has started."""

    @property
    def started(self) -> int:
        """Number of pilots that this command has started."""

    @property
    def goes_on(self) -> bool:
        """Whether the study runs on without the command that follows it."""

    def all_ended(self) -> bool:
        """Return whether all of them have ended."""

    def notes(self) -> list[str]:
        """Return notes for the user about the started pilots."""

    def logs(self) -> list[str]:
        """Return the files that they log to."""


class Launcher(Protocol):
    """A way to start pilots on a cluster."""

    @property
    def nodes(self) -> int:
        """Number of nodes of all pilots together."""

    def findings(self, config: StudyConfig, folder: RunFolder) -> Findings:
        """Return the problems that keep pilots from training the study's trials, and warnings."""

    @property
    def on_gpus(self) -> bool:
        """Whether pilots hold GPUs."""

    def bill(self, hours: float, trial: TrialShape) -> Cost | None:
        """Return the cost of trials as long as so many hours, one after the other.

        None: nobody bills them, or no pilot can hold one.
        """

    def preview(self, config: StudyConfig, uid: str, storage: str, folder: RunFolder) -> Preview:
        """Return the preview of a launch.

        Args:
            config: of the study.
            uid: of the study in its storage.
            storage: its URL, without a password.
            folder: of the study.
        """

    def ask(self, study: str, uid: str | None, folder: RunFolder) -> str | None:
        """Return why the pilots would have to wait for repairs, if so; change nothing.

        Args:
            study: its name.
            uid: of the study in its storage; None for a new study.
            folder: of the study.

        Raises:
            SlurmError: the site would not take them, or does not answer.
        """

    def start(self, storage: Storage, status: StudyStatus, place: StudyPlace) -> Pilots:
        """Start the missing pilots."""


def launcher_of(profile: ClusterProfile, request: PilotRequest) -> Launcher:
    """Return the launcher of a cluster.

    Raises:
        ConfigurationError: the request makes no sense there.
    """
    if isinstance(profile, SlurmProfile):
        return SlurmLauncher(profile, resolve_request(profile, request))
    asked = {name: getattr(request, name) for name in ("nodes", "qos", "account", "partition")}
    given = [f"--{name} {wanted}" for name, wanted in asked.items() if wanted is not None]
    given += [f"--sbatch {shown_option(name, wanted)}" for name, wanted in request.sbatch.items()]
    if given:
        raise ConfigurationError(
            [
                f"{option}: cluster {profile.cluster} has no SLURM to ask for it. Leave it out."
                for option in given
            ]
        )
    changed = {"pilots": request.pilots, "walltime_min": request.walltime_min}
    return LocalLauncher(
        profile.model_copy(
            update={name: wanted for name, wanted in changed.items() if wanted is not None}
        )
    )


def _lanes(order: PilotOrder, trial: TrialShape) -> tuple[LaneShare, ...]:
    """Return the lanes of a pilot's first node; none where it cannot hold a trial."""
    try:
        share = share_of(order, trial, 0)
    except ConfigurationError:
        return ()  # `Launcher.findings` says why
    return share.lanes if share else ()


@dataclass(frozen=True)
class LocalLauncher:
    """Starts pilots as processes of this machine."""

    profile: LocalProfile
    nodes: int = 1

    def findings(self, config: StudyConfig, folder: RunFolder) -> Findings:
        gpus = self.profile.gpus_per_pilot
        if not 0 < gpus < config.trial.ranks:
            return Findings(problems=(), warnings=())
        problem = (
            f"study {config.study}: trial.ranks is {config.trial.ranks}, but a pilot on cluster "
            f"{self.profile.cluster} has {gpus} GPU(s), one for each rank. Lower trial.ranks, or "
            "raise gpus_per_pilot in the profile."
        )
        return Findings(problems=(problem,), warnings=())

    @property
    def on_gpus(self) -> bool:
        return self.profile.gpus_per_pilot > 0

    def bill(self, hours: float, trial: TrialShape) -> Cost | None:
        return None

    def preview(self, config: StudyConfig, uid: str, storage: str, folder: RunFolder) -> Preview:
        profile, trial = self.profile, config.trial
        lanes = _lanes(local_order(config, storage, folder, profile, 0), trial)
        by_room = not self.on_gpus and profile.lanes is None
        gpus = f"{profile.gpus_per_pilot} GPU(s)" if profile.gpus_per_pilot else "no GPU"
        return Preview(
            summary=f"{profile.pilots} pilot(s) with {gpus} each, at most {profile.walltime_min} "
            "min",
            pilots=profile.pilots,
            at_once=len(lanes) or None,
            threads_per_rank=lanes[0].threads_per_rank if lanes else None,
            room=room_of_pilot(profile, trial) if by_room else None,
            command=pilot_command(order_path(folder, 0)),
        )

    def ask(self, study: str, uid: str | None, folder: RunFolder) -> str | None:
        return None

    def start(self, storage: Storage, status: StudyStatus, place: StudyPlace) -> Pilots:
        return start_local(status.config, storage, place.folder, self.profile)


@dataclass(frozen=True)
class SlurmLauncher:
    """Submits pilots as job arrays."""

    profile: SlurmProfile
    shape: PilotShape

    @property
    def nodes(self) -> int:
        return self.shape.nodes * self.shape.pilots

    def findings(self, config: StudyConfig, folder: RunFolder) -> Findings:
        found = lint(self.profile, self.shape, config.trial)
        elsewhere = not_followed(self.profile.slurm_cluster)
        if elsewhere:
            elsewhere += ". Set slurm_cluster in the profile to choose one."
        advice = [each for each in (folder_advice(self.profile, folder.path), elsewhere) if each]
        return replace(found, warnings=(*found.warnings, *advice))

    @property
    def on_gpus(self) -> bool:
        return self.shape.gpus_used_per_node > 0

    def bill(self, hours: float, trial: TrialShape) -> Cost | None:
        if self.on_gpus and nodes_of_trial(self.shape, trial) is None:
            return None
        at_once = trials_at_once(self.shape, trial)
        # What a pilot holds beside its trials is billed with them.
        return cost_of(self.profile, self.shape, hours * self.shape.nodes / at_once)

    def preview(self, config: StudyConfig, uid: str, storage: str, folder: RunFolder) -> Preview:
        shape, trial = self.shape, config.trial
        job = next_batch(self.profile, shape, config.study, uid, folder)
        order = pilot_order(self.profile, shape, config.study, trial, storage, folder)
        lanes = _lanes(order, trial)
        gpus = f"{shape.gpus_used_per_node} GPU(s)" if shape.gpus_used_per_node else "no GPU"
        return Preview(
            summary=f"{shape.pilots} job(s) of {shape.nodes} node(s) with {gpus} each, at most "
            f"{shape.walltime_min} min",
            pilots=shape.pilots,
            at_once=trials_at_once(shape, trial) if lanes else None,
            threads_per_rank=lanes[0].threads_per_rank if lanes else None,
            command=job.command,
            # Without arrays, each pilot is a job of its own.
            script=batch_script(job, min(shape.pilots, self.profile.max_array_size) or None),
            cost=projected_cost(self.profile, shape),
        )

    def ask(self, study: str, uid: str | None, folder: RunFolder) -> str | None:
        job = next_batch(self.profile, self.shape, study, uid or "", folder)
        refused = waits = None
        try:
            waits = ask_for_pilots(self.profile, self.shape, job)
        except SlurmAway:
            raise
        except SlurmError as error:
            refused = error
        if refused is None and waits is None:
            return None  # what is in the queue already, `start` counts
        clusters = clusters_with(self.profile, folder)
        alive = alive_jobs(job_name(study, uid), clusters) if uid else ()
        if len(alive) >= self.shape.pilots:
            return None
        # The existing ones are what the site allows; the others come later.
        if refused is not None and not (alive and too_many(refused)):
            raise refused
        return waits

    def start(self, storage: Storage, status: StudyStatus, place: StudyPlace) -> Pilots:
        config = status.config
        useful = math.ceil(
            (status.budget - status.ended) / trials_at_once(self.shape, config.trial)
        )
        wanted = min(self.shape.pilots, useful)
        return start_slurm(self.profile, self.shape, config, place, storage, wanted)
