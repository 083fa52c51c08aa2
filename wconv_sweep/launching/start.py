"""Launches and resumes studies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import URL

from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.clusters.profile import load_profile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.launching.last_request import last_request, or_else, save_request
from wconv_sweep.launching.plan import NOTHING_ELSE, Plan
from wconv_sweep.launching.submission import Launcher, Pilots, launcher_of
from wconv_sweep.pilots.notification import notify, save_command
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.provenance import provenance_of
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.storage.open_storage import Storage, create_storage, open_storage
from wconv_sweep.storage.shared_storage import check_shared
from wconv_sweep.study.data_files import check_data, make_smoke_data


@dataclass(frozen=True)
class Launched:
    """A launched study."""

    storage: Storage
    study: str
    pilots: Pilots | None
    """None if nothing is left to do."""
    start_pilots: Callable[[], Pilots]
    """Starts the missing pilots."""
    waits: str | None = None
    """Why pilots have to wait for repairs of the site."""


def launch(
    plan: Plan, *, accept_changes: bool = False, notify_with: Sequence[str] | None = None
) -> Launched:
    """Write the study's budget once and start the missing pilots.

    A second call adds what the first left out, and never doubles a slot or a pilot. It also lets a
    study that was stopped continue.

    Args:
        plan: what to launch.
        accept_changes: also if the study was started with another program or other data.
        notify_with: words of a command, see `wconv_sweep.pilots.notification`; None leaves that
            of the launch before, no words remove it.

    Raises:
        ConfigurationError: the plan has problems.
        SlurmError: the site does not take the pilots, or does not answer.
        StudyError: the study was started with something else; or another study has its name.
    """
    _refuse(plan.problems)
    if plan.smoke:
        make_smoke_data(plan.config)
    # Before anything is written: a refused launch leaves no trace of a study.
    waits = plan.launcher.ask(plan.config.study, plan.uid, plan.folder)
    storage = create_storage(plan.storage_url)
    studies.create_or_extend(
        storage,
        plan.config,
        plan.folder,
        plan.cluster,
        given=plan.given,
        provenance=provenance_of(plan.config, plan.folder.path),
        accept_changes=accept_changes,
    )
    if plan.ablate:
        add_ablation(storage, plan.config)
    launched = _start(storage, plan.config.study, plan.launcher, plan.request, notify_with)
    return replace(launched, waits=waits)


def resume(
    study: str,
    cluster: str | None,
    storage_url: URL,
    *,
    accept_changes: bool = False,
    request: PilotRequest = NOTHING_ELSE,
    notify_with: Sequence[str] | None = None,
) -> Launched:
    """Continue a study that was stopped, interrupted or broken.

    Args:
        study: its name.
        cluster: profile by name or path; None takes the one of the last launch.
        storage_url: holds the study.
        accept_changes: also if the study was started with another program or other data.
        request: changes to the last launch, or else the profile.
        notify_with: as for `launch`.

    Raises:
        ConfigurationError: profile or data cannot be used.
        StudyError: the storage holds no such study, or what it was started with has changed.
    """
    storage = open_storage(storage_url)
    config, place = (
        definitions.load_config(storage, study),
        definitions.study_place(storage, study),
    )
    if cluster is None or cluster == place.cluster:
        request = or_else(request, last_request(place.folder))
    launcher = launcher_of(load_profile(cluster or place.cluster), request)
    check_data(config)
    _refuse(launcher.findings(config, place.folder).problems)
    check_shared(storage_url, launcher.nodes)
    place.folder.check_free(place.uid)
    waits = launcher.ask(study, place.uid, place.folder)
    provenance = provenance_of(config, place.folder.path)
    studies.check_provenance(storage, study, provenance, accept_changes=accept_changes)
    return replace(_start(storage, study, launcher, request, notify_with), waits=waits)


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
    place = definitions.study_place(storage, study)
    place.folder.create(place.uid)
    save_request(place.folder, request)
    if notify_with is not None:
        save_command(place.folder, notify_with)
    definitions.freeze_own_modules(storage, study)
    studies.reopen(storage, study)

    def start(status: StudyStatus) -> Pilots:
        return launcher.start(storage, status, place)

    status = read_status(storage, study)
    nothing_left = status.complete or status.capped
    if nothing_left:
        # The responsible pilot may have been killed.
        notify(storage, study, place.folder)
    pilots = None if nothing_left else start(status)
    return Launched(storage, study, pilots, lambda: start(read_status(storage, study)))
