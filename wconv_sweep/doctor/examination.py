"""All checks of a cluster and a study, in reading order."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import URL

from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.clusters.profile import ClusterProfile, SlurmProfile
from wconv_sweep.doctor.checks import Area, Check, examine, skipped
from wconv_sweep.doctor.data import data_checks
from wconv_sweep.doctor.database import database_checks
from wconv_sweep.doctor.folders import rooms_of, run_folder_checks, space_checks
from wconv_sweep.doctor.job import FOLDER, TestJob, job_checks, sample_batch
from wconv_sweep.doctor.site import SITE_LIMIT_S, findings_checks, site_checks
from wconv_sweep.launching.submission import launcher_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.study.config import StudyConfig, TrialShape


def examination(
    profile: ClusterProfile,
    config: StudyConfig | None,
    runs: Path,
    find_url: Callable[[], URL],
    request: PilotRequest,
    *,
    job_wait_s: float | None,
    say: Callable[[str], None],
) -> Iterator[tuple[str, Check]]:
    """Yield (area, check) of everything that a study needs, one by one.

    Args:
        profile: of the cluster.
        config: the study; None checks only the cluster.
        runs: folder of all runs.
        find_url: returns the URL of the storage, or raises `StorageError`.
        request: changes to the profile.
        job_wait_s: time for a test job to start; None starts none.
        say: called with a line on what is being waited for.

    Raises:
        ConfigurationError: the request makes no sense on this cluster.
    """
    launcher = launcher_of(profile, request)
    nodes = launcher.nodes
    shape = resolve_request(profile, request) if isinstance(profile, SlurmProfile) else None
    areas = []
    if isinstance(profile, SlurmProfile) and shape is not None:
        folder = RunFolder(runs.resolve() / FOLDER)
        slurm, pilots = profile, shape

        def site() -> Iterator[Check]:
            trial = config.trial if config else TrialShape()
            return site_checks(slurm, pilots, trial, sample_batch(slurm, pilots, folder))

        areas.append(Area("site", site, SITE_LIMIT_S))
    elif config is not None:
        found = launcher.findings(config, RunFolder.of(runs, config.study))
        areas.append(Area("site", lambda: findings_checks(found, "profile")))
    wanted = job_wait_s is not None
    areas += [
        Area("run folder", lambda: run_folder_checks(runs, profile, job=wanted)),
        Area("space", lambda: space_checks(rooms_of(runs, config))),
        Area("storage", lambda: database_checks(find_url, nodes)),
        Area("data", lambda: data_checks(config)),
    ]
    if job_wait_s is None:
        areas.append(Area("node", _no_job))
    else:
        test = TestJob(profile, shape, runs, find_url, nodes, job_wait_s, say)
        areas.append(Area("node", lambda: job_checks(test), limit_s=None))
    return examine(areas)


def _no_job() -> Iterator[Check]:
    yield skipped("program, GPUs, nccl and storage on a node", "--job tries them in a short job")
