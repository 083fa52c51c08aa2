"""Launches, follows and resumes studies."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.clusters.profile import ClusterProfile, load_profile
from wconv_sweep.errors import ConfigurationError, StorageAway, SweepFailed, WconvSweepError
from wconv_sweep.evidence.status import StudyStatus, read_status, study_names
from wconv_sweep.launching.last_request import last_request, or_else, save_request
from wconv_sweep.launching.preview import Preview
from wconv_sweep.launching.submission import Launcher, Pilots, launcher_of
from wconv_sweep.pilots.notification import notify, save_command
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.slots.provenance import differences, program_of, provenance_of
from wconv_sweep.slots.stages import add_ablation, check_ablation
from wconv_sweep.slots.warm_start import warm_densities
from wconv_sweep.storage.shared_storage import check_shared, local_disk_advice
from wconv_sweep.storage.slot_plan import ABLATIONS, GivenDensity
from wconv_sweep.storage.storage import Storage, create_storage, has_storage, open_storage
from wconv_sweep.storage.tables import StudyState
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.data_files import check_data, make_smoke_data
from wconv_sweep.study.files import load_study, locate_data

SMOKE_DATA = "smoke_data"
"""Folder of made-up data in the folder of all runs."""

NOTHING_ELSE = PilotRequest()

NEW = "00000000"
"""Stands for the part of a job's name that a study gets when it is created."""

POLL_S = 0.5
"""Time between two looks at a study that is being followed, seconds."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a launch would do; nothing of it has been done."""

    config: StudyConfig
    profile: ClusterProfile
    storage_url: URL
    folder: RunFolder
    cluster: str
    """The profile, by name or by absolute path."""
    launcher: Launcher
    request: PilotRequest
    uid: str | None
    """Of the study in its storage; None for one that is still to be created."""
    smoke: bool
    """Whether the study is shrunk and trains on made-up data."""
    ablate: bool
    """Whether the trials of an ablation are added."""
    given: Sequence[GivenDensity]
    """Densities that a new study begins its search with, from those of `search.warm_start`."""
    problems: tuple[str, ...]
    """Why it cannot be launched."""
    warnings: tuple[str, ...]
    """What is allowed, but may go wrong."""

    @property
    def ablation_trials(self) -> int:
        """Trials that an ablation adds to a study without one."""
        confirm = self.config.confirm
        return len(ABLATIONS) * confirm.seeds if self.ablate and confirm is not None else 0

    def preview(self) -> Preview:
        """Return what would be started; a study that is new has no name in SLURM yet."""
        return self.launcher.preview(self.config.study, self.uid or NEW, self.folder)


@dataclass(frozen=True)
class Launched:
    """A study at work."""

    storage: Storage
    study: str
    pilots: Pilots | None
    """None where nothing is left to do."""
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
    ablate: bool = False,
    request: PilotRequest = NOTHING_ELSE,
    dry_run: bool = False,
) -> Plan:
    """Check the study, the cluster, the user's data and the storage; write nothing.

    Args:
        study: by shipped name, or the path of a file.
        cluster: the profile, likewise.
        storage_url: of the database.
        runs: folder of all runs.
        settings: changes of single keys of the study, see `wconv_sweep.study.settings`.
        smoke: shrink the study, see `wconv_sweep.study.smoke`.
        ablate: add the trials of an ablation, see `wconv_sweep.slots.stages`.
        request: what is wanted other than the profile says.
        dry_run: the plan is only to be looked at, so what stands in its way is not raised: data
            that are not here are a warning, a storage that cannot be used is a problem.

    Raises:
        ConfigurationError: a file has problems; all of them are named.
        StorageError: the storage exists and cannot be used.
        StudyError: the storage holds another study of this name, or lacks one that is to be
            built on.
    """
    smoke_folder = runs / SMOKE_DATA if smoke else None
    config = locate_data(load_study(study, settings=settings, smoke_folder=smoke_folder))
    profile = load_profile(cluster)
    if ablate:
        check_ablation(config)
    launcher = launcher_of(profile, request)
    folder, uid = RunFolder.of(runs, config.study), None
    findings = launcher.findings(config, folder)
    problems, warnings = list(findings.problems), list(findings.warnings)
    with _noted(warnings, instead=dry_run):
        if not smoke:
            check_data(config)
    with _noted(problems, instead=dry_run):
        check_shared(storage_url, launcher.nodes)
    with _noted(problems, instead=dry_run):
        if has_storage(storage_url):
            storage = open_storage(storage_url)
            try:
                if studies.check_same(storage, config):
                    place = studies.place_of(storage, config.study)
                    folder, uid = place.folder, place.uid
            finally:
                storage.close()
        folder.check_free(uid)
    given: Sequence[GivenDensity] = []
    with _noted(problems, instead=dry_run):
        # A study that was launched has them in its slots, whatever has become of their sources.
        given = warm_densities(storage_url, config) if uid is None else []
    advice = local_disk_advice(storage_url)
    return Plan(
        config=config,
        profile=profile,
        storage_url=storage_url,
        folder=folder,
        cluster=_lasting_name(cluster),
        launcher=launcher,
        request=request,
        uid=uid,
        smoke=smoke,
        ablate=ablate,
        given=given,
        problems=tuple(problems),
        warnings=(*warnings, *([advice] if advice else [])),
    )


def changes_since(plan: Plan) -> list[str]:
    """Return in one clause each what is no longer as it was when the study was begun.

    `launch` refuses these; a study that does not exist has none.

    Raises:
        ConfigurationError: the data cannot be looked at.
        StorageError: the storage exists and cannot be used.
    """
    if not has_storage(plan.storage_url):
        return []
    with contextlib.closing(open_storage(plan.storage_url)) as storage:
        if plan.config.study not in study_names(storage):
            return []
        recorded = read_status(storage, plan.config.study).provenance
    # Made-up data may not have been made yet, and are always the same.
    now = program_of(plan.config) if plan.smoke else provenance_of(plan.config)
    return differences(recorded or {}, now)


def launch(
    plan: Plan, *, accept_changes: bool = False, notify_with: Sequence[str] | None = None
) -> Launched:
    """Write the study's budget once and start the pilots that are missing.

    A second call adds what the first left out, and never doubles a slot or a pilot. It also lets a
    study that was stopped go on.

    Args:
        plan: what to launch.
        accept_changes: also when the study was begun with another program or other data.
        notify_with: words of a command, see `wconv_sweep.pilots.notification`; None leaves that
            of the launch before, no words remove it.

    Raises:
        ConfigurationError: the plan has problems.
        SlurmError: the site does not take the pilots, or does not answer.
        StudyError: the study was begun with something else; or another study has its name.
    """
    _refuse(plan.problems)
    if plan.smoke:
        make_smoke_data(plan.config)
    # Before anything is written: what the site refuses leaves no trace of a study.
    plan.launcher.ask(plan.config.study, plan.uid, plan.folder)
    storage = create_storage(plan.storage_url)
    studies.create_or_extend(
        storage,
        plan.config,
        plan.folder,
        plan.cluster,
        given=plan.given,
        provenance=provenance_of(plan.config),
        accept_changes=accept_changes,
    )
    if plan.ablate:
        add_ablation(storage, plan.config)
    return _start(storage, plan.config.study, plan.launcher, plan.request, notify_with)


def resume(
    study: str,
    cluster: str | None,
    storage_url: URL,
    *,
    accept_changes: bool = False,
    request: PilotRequest = NOTHING_ELSE,
    notify_with: Sequence[str] | None = None,
) -> Launched:
    """Let a study go on that was stopped, interrupted or broken.

    Args:
        study: its name.
        cluster: profile by name or path; None takes the one of the last launch.
        storage_url: holds the study.
        accept_changes: also when the study was begun with another program or other data.
        request: what is wanted other than the profile, or else the last launch, says.
        notify_with: as for `launch`.

    Raises:
        ConfigurationError: profile or data cannot be used.
        StudyError: the storage holds no such study, or what it was begun with has changed.
    """
    storage = open_storage(storage_url)
    config, place = studies.load_config(storage, study), studies.place_of(storage, study)
    if cluster is None or cluster == place.cluster:
        request = or_else(request, last_request(place.folder))
    launcher = launcher_of(load_profile(cluster or place.cluster), request)
    check_data(config)
    _refuse(launcher.findings(config, place.folder).problems)
    check_shared(storage_url, launcher.nodes)
    place.folder.check_free(place.uid)
    launcher.ask(study, place.uid, place.folder)
    studies.check_provenance(storage, study, provenance_of(config), accept_changes=accept_changes)
    return _start(storage, study, launcher, request, notify_with)


def follow(launched: Launched, on_status: Callable[[StudyStatus], None]) -> StudyStatus:
    """Show a study's progress until its pilots have ended, and return how it stands.

    Raises:
        SweepFailed: it ended without a result, or the pilots ended before the study.
    """
    pilots = launched.pilots
    while True:
        # In this order: what a pilot writes before it ends is in the status that follows.
        idle = pilots is None or pilots.all_ended()
        try:
            status = read_status(launched.storage, launched.study)
        except StorageAway:
            # Pilots wait for it; there is nothing to show meanwhile.
            if idle:
                raise
            time.sleep(POLL_S)
            continue
        on_status(status)
        if status.complete and (pilots is None or pilots.goes_on):
            # They see by themselves that nothing is left.
            break
        if idle and not (pilots and pilots.started) and status.state is StudyState.ACTIVE:
            if status.complete or status.capped:
                break
            # All pilots were those of an earlier command, about to stop.
            pilots = launched.start_pilots()
        elif idle:
            break
        time.sleep(POLL_S)
    _check_result(status, pilots.logs() if pilots else [])
    return status


def stop_and_wait(launched: Launched, on_status: Callable[[StudyStatus], None]) -> None:
    """Stop the study and wait until the running trials have reached a checkpoint."""
    studies.stop(launched.storage, launched.study)
    while launched.pilots and not launched.pilots.all_ended():
        on_status(read_status(launched.storage, launched.study))
        time.sleep(POLL_S)


def _lasting_name(cluster: str) -> str:
    """Return a profile's name, or the path of its file that holds in every folder."""
    is_file = cluster.endswith((".yaml", ".yml"))
    return str(Path(cluster).expanduser().resolve()) if is_file else cluster


@contextmanager
def _noted(notes: list[str], *, instead: bool) -> Iterator[None]:
    """Let an error of the user's be one of the notes, if that is wanted instead."""
    try:
        yield
    except WconvSweepError as error:
        if not instead:
            raise
        notes += str(error).splitlines()


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigurationError(problems)


def _start(
    storage: Storage,
    study: str,
    launcher: Launcher,
    request: PilotRequest,
    notify_with: Sequence[str] | None,
) -> Launched:
    place = studies.place_of(storage, study)
    place.folder.create(place.uid)
    save_request(place.folder, request)
    if notify_with is not None:
        save_command(place.folder, notify_with)
    studies.freeze_own_modules(storage, study)
    studies.reopen(storage, study)

    def start() -> Pilots:
        return launcher.start(storage, read_status(storage, study), place)

    status = read_status(storage, study)
    nothing_left = status.complete or status.capped
    if nothing_left:
        # The pilot that ought to have done so may have been killed.
        notify(storage, study, place.folder)
    return Launched(storage, study, None if nothing_left else start(), start)


def _check_result(status: StudyStatus, logs: Sequence[str]) -> None:
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
            f"they were killed. Their logs: {', '.join(logs)}. "
            f"`wconv-sweep resume --study {status.study}` goes on."
        )
