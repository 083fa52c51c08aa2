"""Launches, follows and resumes studies."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from wconv_sweep import studies
from wconv_sweep.cluster_profile import ClusterProfile, load_profile
from wconv_sweep.data_files import check_data, make_smoke_data
from wconv_sweep.errors import ConfigurationError, StorageAway, SweepFailed
from wconv_sweep.provenance import provenance_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.status import StudyStatus, read_status
from wconv_sweep.storage import (
    Storage,
    create_storage,
    has_storage,
    local_disk_advice,
    open_storage,
)
from wconv_sweep.study_config import StudyConfig, load_study, locate_data
from wconv_sweep.submission import Pilots, pilot_command, start_pilots
from wconv_sweep.tables import StudyState

SMOKE_DATA = "smoke_data"
"""Folder of made-up data in the folder of all runs."""

POLL_S = 0.5
"""Time between two looks at a study that is being followed, seconds."""


@dataclass(frozen=True)
class Plan:
    """What a launch would do; nothing of it has been done."""

    config: StudyConfig
    profile: ClusterProfile
    storage_url: URL
    folder: RunFolder
    cluster: str
    """The profile, by name or by absolute path."""
    smoke: bool = False
    """Whether the study is shrunk and trains on made-up data."""

    @property
    def warnings(self) -> list[str]:
        """What is allowed, but may go wrong."""
        advice = local_disk_advice(self.storage_url)
        return [advice] if advice else []

    @property
    def pilot_command(self) -> str:
        """What each pilot runs."""
        return pilot_command(self.folder)


@dataclass(frozen=True)
class Launched:
    """A study at work."""

    storage: Storage
    study: str
    pilots: Pilots
    start_pilots: Callable[[], Pilots]
    """Starts the pilots that are not at work (any more)."""


def plan_launch(
    study: str,
    cluster: str,
    storage_url: URL,
    runs: Path,
    *,
    settings: Sequence[str] = (),
    smoke: bool = False,
) -> Plan:
    """Check the study, the cluster, the user's data and the storage; write nothing.

    Args:
        study: by shipped name, or the path of a file.
        cluster: the profile, likewise.
        storage_url: of the database.
        runs: folder of all runs.
        settings: changes of single keys of the study, see `wconv_sweep.settings`.
        smoke: shrink the study, see `wconv_sweep.smoke`.

    Raises:
        ConfigurationError: a file has problems; all of them are named.
        StorageError: the storage exists and cannot be used.
        StudyError: the storage holds another study of this name.
    """
    smoke_folder = runs / SMOKE_DATA if smoke else None
    config = locate_data(load_study(study, settings=settings, smoke_folder=smoke_folder))
    profile = load_profile(cluster)
    if not smoke:
        check_data(config)
    _check_gpus(config, profile)
    folder, uid = RunFolder.of(runs, config.study), None
    if has_storage(storage_url):
        storage = open_storage(storage_url)
        try:
            if studies.check_same(storage, config):
                place = studies.place_of(storage, config.study)
                folder, uid = place.folder, place.uid
        finally:
            storage.close()
    folder.check_free(uid)
    return Plan(config, profile, storage_url, folder, _lasting_name(cluster), smoke)


def launch(plan: Plan, *, accept_changes: bool = False) -> Launched:
    """Write the study's budget once and start the pilots that are missing.

    A second call adds what the first left out, and never doubles a slot or a pilot. It also lets a
    study that was stopped go on.

    Args:
        plan: what to launch.
        accept_changes: also when the study was begun with another program or other data.

    Raises:
        StudyError: it was, and that is not accepted; or another study has its name.
    """
    if plan.smoke:
        make_smoke_data(plan.config)
    storage = create_storage(plan.storage_url)
    studies.create_or_extend(
        storage,
        plan.config,
        plan.folder,
        plan.cluster,
        provenance=provenance_of(plan.config),
        accept_changes=accept_changes,
    )
    return _start(storage, plan.config.study, plan.profile)


def resume(
    study: str, cluster: str | None, storage_url: URL, *, accept_changes: bool = False
) -> Launched:
    """Let a study go on that was stopped, interrupted or broken.

    Args:
        study: its name.
        cluster: profile by name or path; None takes the one of the last launch.
        storage_url: holds the study.
        accept_changes: also when the study was begun with another program or other data.

    Raises:
        ConfigurationError: profile or data cannot be used.
        StudyError: the storage holds no such study, or what it was begun with has changed.
    """
    storage = open_storage(storage_url)
    config, place = studies.load_config(storage, study), studies.place_of(storage, study)
    profile = load_profile(cluster or place.cluster)
    check_data(config)
    _check_gpus(config, profile)
    place.folder.check_free(place.uid)
    studies.check_provenance(storage, study, provenance_of(config), accept_changes=accept_changes)
    return _start(storage, study, profile)


def follow(launched: Launched, on_status: Callable[[StudyStatus], None]) -> StudyStatus:
    """Show a study's progress until its pilots have ended, and return how it stands.

    Raises:
        SweepFailed: it ended without a result, or the pilots ended before the study.
    """
    pilots = launched.pilots
    while True:
        # In this order: what a pilot writes before it ends is in the status that follows.
        idle = pilots.all_ended()
        try:
            status = read_status(launched.storage, launched.study)
        except StorageAway:
            # Pilots wait for it; there is nothing to show meanwhile.
            if idle:
                raise
            time.sleep(POLL_S)
            continue
        on_status(status)
        if idle and not pilots.started and status.state is StudyState.ACTIVE:
            if status.complete or status.capped:
                break
            # All pilots were those of an earlier command, about to stop.
            pilots = launched.start_pilots()
        elif idle:
            break
        time.sleep(POLL_S)
    _check_result(status, pilots)
    return status


def stop_and_wait(launched: Launched, on_status: Callable[[StudyStatus], None]) -> None:
    """Stop the study and wait until the running trials have reached a checkpoint."""
    studies.stop(launched.storage, launched.study)
    while not launched.pilots.all_ended():
        on_status(read_status(launched.storage, launched.study))
        time.sleep(POLL_S)


def _lasting_name(cluster: str) -> str:
    """Return a profile's name, or the path of its file that holds in every folder."""
    is_file = cluster.endswith((".yaml", ".yml"))
    return str(Path(cluster).expanduser().resolve()) if is_file else cluster


def _check_gpus(config: StudyConfig, profile: ClusterProfile) -> None:
    if 0 < profile.gpus_per_pilot < config.trial.ranks:
        raise ConfigurationError(
            f"study {config.study}: trial.ranks is {config.trial.ranks}, but a pilot on cluster "
            f"{profile.cluster} has {profile.gpus_per_pilot} GPU(s), one for each rank. Lower "
            "trial.ranks, or raise gpus_per_pilot in the profile."
        )


def _start(storage: Storage, study: str, profile: ClusterProfile) -> Launched:
    place = studies.place_of(storage, study)
    folder = place.folder
    folder.create(place.uid)
    studies.freeze_own_modules(storage, study)
    studies.reopen(storage, study)

    def start() -> Pilots:
        return start_pilots(study, storage, folder, profile)

    status = read_status(storage, study)
    if status.complete or status.capped:
        return Launched(storage, study, Pilots(folder, count=0, started={}), start)
    return Launched(storage, study, start(), start)


def _check_result(status: StudyStatus, pilots: Pilots) -> None:
    if status.state is StudyState.BROKEN:
        raise SweepFailed(
            f"study {status.study} was stopped by its circuit breaker: {status.reason}. "
            f"`wconv-sweep status --study {status.study}` shows the traceback; "
            f"`wconv-sweep resume --study {status.study}` tries again."
        )
    if status.complete and status.result is None:
        raise SweepFailed(
            f"study {status.study} ended without a completed trial: "
            f"`wconv-sweep status --study {status.study}` shows why."
        )
    if status.capped:
        assert status.usage.cap_h is not None
        raise SweepFailed(
            f"study {status.study} has used {status.usage.spent_h:.2f} of "
            f"{status.usage.cap_h:g} GPU-hours, and the next trial would pass the limit: "
            f"{status.budget - status.ended} trials are left. Raise budget.gpu_hours in the study "
            "and launch it again to go on."
        )
    if not status.complete and status.state is StudyState.ACTIVE and status.reason:
        raise SweepFailed(
            f"study {status.study}: {status.reason}. Use the program and the data that the study "
            f"was begun with, or `wconv-sweep resume --study {status.study} --accept-changes`."
        )
    if not status.complete and status.state is StudyState.ACTIVE:
        raise SweepFailed(
            f"the pilots of study {status.study} ended before the study: their time was up, or "
            f"they were killed. Their logs: {', '.join(pilots.logs())}. "
            f"`wconv-sweep resume --study {status.study}` goes on."
        )
