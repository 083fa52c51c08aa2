"""What a launch would do: everything is checked, and nothing is written."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from wconv_sweep.clusters.pilot_request import PilotRequest
from wconv_sweep.clusters.profile import ClusterProfile, load_profile
from wconv_sweep.errors import WconvSweepError
from wconv_sweep.evidence.expected_cost import ExpectedCost, read_expected_cost
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.launching.preview import Preview
from wconv_sweep.launching.submission import Launcher, launcher_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.provenance import differences, program_of, provenance_of
from wconv_sweep.slots.stages import check_ablation
from wconv_sweep.storage.open_storage import has_storage, open_storage
from wconv_sweep.storage.shared_storage import check_shared, local_disk_advice
from wconv_sweep.storage.slot_plan import ABLATIONS, GivenPoint
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.study.code_files import rule_of
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.data_files import check_data
from wconv_sweep.study.files import load_study, locate_data, study_options

SMOKE_DATA = "smoke_data"
"""Folder of synthetic data in the folder of all runs."""

NOTHING_ELSE = PilotRequest()

NEW = "00000000"
"""Stands for the part of a job's name that a study gets when it is created."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a launch; nothing of it is done yet."""

    named: Sequence[str]
    """The options of the command line that name the study."""
    config: StudyConfig
    profile: ClusterProfile
    storage_url: URL
    folder: RunFolder
    cluster: str
    """The profile, by name or by absolute path."""
    launcher: Launcher
    request: PilotRequest
    uid: str | None
    """Of the study in its storage; None for a new study."""
    smoke: bool
    """Whether the study is shrunk and trains on synthetic data."""
    ablate: bool
    """Whether the trials of an ablation are added."""
    given: Sequence[GivenPoint]
    """Densities that a new study starts its search with, from those of `search.warm_start`."""
    problems: tuple[str, ...]
    """Why it cannot be launched."""
    warnings: tuple[str, ...]
    """Warnings: allowed, but may go wrong."""

    @property
    def ablation_trials(self) -> int:
        """Trials that an ablation adds to a study without one."""
        confirm = self.config.confirm
        return len(ABLATIONS) * confirm.seeds if self.ablate and confirm is not None else 0

    def preview(self) -> Preview:
        """Return the preview; a new study has no name in SLURM yet."""
        storage = self.storage_url.render_as_string(hide_password=True)
        return self.launcher.preview(self.config, self.uid or NEW, storage, self.folder)


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
        cluster: the profile, by name or file.
        storage_url: of the database.
        runs: folder of all runs.
        settings: changes of single keys of the study, see `wconv_sweep.study.settings`.
        smoke: shrink the study, see `wconv_sweep.study.smoke`.
        ablate: add the trials of an ablation, see `wconv_sweep.slots.stages`.
        request: changes to the profile.
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
                begun = studies.check_same(storage, config)
                if begun is not None:
                    config = begun
                    place = definitions.study_place(storage, config.study)
                    folder, uid = place.folder, place.uid
            finally:
                storage.close()
        folder.check_free(uid)
    given: Sequence[GivenPoint] = []
    # A launched study has them in its slots, even if their sources are gone.
    if uid is None and config.search.warm_start:
        # Imported here: it loads NumPy, which other launches do not need.
        from wconv_sweep.slots.warm_start import warm_densities

        with _noted(problems, instead=dry_run):
            given = warm_densities(storage_url, config)
    warnings += _told_links(config)
    advice = local_disk_advice(storage_url)
    return Plan(
        named=study_options(study, settings, smoke=smoke),
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


def _told_links(config: StudyConfig) -> list[str]:
    """Say what of a program's code is not copied, and so may change while trials run."""
    if config.trainer is None or config.code_folder is None:
        return []
    links = rule_of(config.trainer).unnamed_links(config.code_folder)
    if not links:
        return []
    return [
        f"code: the copy only links to {', '.join(links)}: do not change them while the study "
        "runs. Name them in trainer.linked, and this is not said again."
    ]


def changes_since(plan: Plan) -> list[str]:
    """Return one clause for each thing that has changed since the study was started.

    `launch` refuses these; a study that does not exist has none.

    Raises:
        ConfigurationError: the data cannot be checked.
        StorageError: the storage exists and cannot be used.
    """
    if not has_storage(plan.storage_url):
        return []
    with contextlib.closing(open_storage(plan.storage_url)) as storage:
        if plan.config.study not in study_names(storage):
            return []
        recorded = read_status(storage, plan.config.study).provenance
    # Synthetic data may not exist yet, and are always the same.
    read = program_of if plan.smoke else provenance_of
    now = read(plan.config, plan.folder.path)
    return differences(recorded or {}, now)


def cost_ahead(plan: Plan, runs: Path) -> ExpectedCost | None:
    """Return what is expected to be left to pay for the study; None: nothing was measured.

    Args:
        plan: of the launch.
        runs: folder of all runs.

    Raises:
        StorageError: the storage exists and cannot be used.
    """
    return read_expected_cost(
        plan.config,
        plan.storage_url,
        runs=runs,
        ablation_trials=plan.ablation_trials,
        on_gpus=plan.launcher.on_gpus,
        cluster=plan.profile.cluster,
    )


def _lasting_name(cluster: str) -> str:
    """Return a profile's name, or the absolute path of its file."""
    is_file = cluster.endswith((".yaml", ".yml"))
    return str(Path(cluster).expanduser().resolve()) if is_file else cluster


@contextlib.contextmanager
def _noted(notes: list[str], *, instead: bool) -> Iterator[None]:
    """Collect a user error as a note, if `into` asks for that."""
    try:
        yield
    except WconvSweepError as error:
        if not instead:
            raise
        notes += str(error).splitlines()
