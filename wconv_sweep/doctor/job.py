"""The test job: submitted like a pilot, it checks on a node what a pilot needs there."""

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile
from wconv_sweep.doctor.checks import Check, Mark, right, warning, wrong
from wconv_sweep.doctor.database import clock_ahead_s, clock_check
from wconv_sweep.doctor.node_probe import MODULE, NodeProbe, NodeReport
from wconv_sweep.errors import StorageError
from wconv_sweep.launching.code_snapshot import freeze, frozen_code
from wconv_sweep.launching.node_job import NodeJob, NodeJobEnd, run_on_node
from wconv_sweep.launching.slurm.options import batch_job
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.batch import BatchJob

FOLDER = "_doctor"
"""Name in the folder of all runs; no study can have this name."""
WALLTIME_MIN = 6


@dataclass(frozen=True)
class TestJob:
    """Parameters of a test job."""

    __test__ = False  # no test of pytest's

    profile: SlurmProfile | LocalProfile
    shape: PilotShape | None
    """Of pilots; None for processes of this machine."""
    runs: Path
    find_url: Callable[[], URL]
    """Returns the URL of the storage, or raises `StorageError`."""
    nodes: int
    """Number of nodes of all pilots together."""
    wait_s: float
    """The job is canceled if it has not started after this time."""
    say: Callable[[str], None]
    """Called with a line on what is being waited for."""


def sample_batch(profile: SlurmProfile, shape: PilotShape, folder: RunFolder) -> BatchJob:
    """Return the pilot to test: of a study that does not exist."""
    probe = folder.path / "probe.json"
    return batch_job(profile, shape, "wconv-doctor", folder, frozen_code(folder), probe)


def job_checks(test: TestJob) -> Iterator[Check]:
    """Start the test job and check its report; if all is right, no file remains.

    Raises:
        SlurmError: the site does not take the job.
    """
    there = test.runs.exists()
    folder = RunFolder(test.runs.resolve() / FOLDER / secrets.token_hex(4))
    folder.pilots.mkdir(parents=True)
    all_right = True
    for check in _checks(test, folder):
        all_right &= check.mark is not Mark.WRONG
        yield check
    if all_right:
        shutil.rmtree(folder.path)
        with contextlib.suppress(OSError):
            folder.path.parent.rmdir()
            if not there:
                test.runs.rmdir()


def _checks(test: TestJob, folder: RunFolder) -> Iterator[Check]:
    url = None
    with contextlib.suppress(StorageError):
        url = test.find_url()
    gpus = (
        test.profile.gpus_per_pilot
        if isinstance(test.profile, LocalProfile)
        else test.shape.gpus_used_per_node
        if test.shape
        else 0
    )
    probe = NodeProbe(
        folder=folder.path,
        code=freeze(folder),
        storage=url.render_as_string(hide_password=True) if url else None,
        nodes=test.nodes,
        gpus_used_per_node=gpus,
    )
    path = folder.path / "probe.json"
    path.write_text(probe.model_dump_json(), "utf-8")
    probe.greeting.write_text(folder.path.name, "utf-8")
    started_s = time.time()
    ended = run_on_node(
        NodeJob(
            word="test",
            name=f"wconv-doctor-{folder.path.name}",
            module=MODULE,
            profile=test.profile,
            shape=test.shape,
            folder=folder,
            order=path,
            report=probe.report,
            run_min=WALLTIME_MIN,
            wait_s=test.wait_s,
            say=test.say,
        )
    )
    yield _check(ended)
    if ended.has_report:
        report = NodeReport.model_validate_json(probe.report.read_text("utf-8"))
        yield from _seen_from_here(report, folder, url, started_s)
        yield from report.checks


def _check(ended: NodeJobEnd) -> Check:
    if ended.has_report:
        return right(ended.what)
    return (warning if ended.never_started else wrong)(ended.what, ended.remedy)


def _seen_from_here(
    report: NodeReport, folder: RunFolder, url: URL | None, started_s: float
) -> Iterator[Check]:
    if report.greeting == folder.path.name:
        yield right(f"run folder: {report.host} and this machine read each other's files")
    else:
        yield wrong(
            f"run folder: {report.host} has not read a file of this machine",
            "Choose a folder that all nodes share with --runs.",
        )
    what = f"clocks of this machine and of {report.host}"
    if report.ahead_s is not None and url is not None:
        yield clock_check(f"clocks of {report.host} and of the database", report.ahead_s)
        with contextlib.suppress(StorageError):
            yield clock_check(what, clock_ahead_s(url) - report.ahead_s)
            return
    # Without a clock that both can read: the node reported its time between these two moments.
    yield clock_check(what, max(started_s - report.now_s, report.now_s - time.time(), 0.0))
