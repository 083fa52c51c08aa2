"""The test job: submitted like a pilot, it checks on a node what a pilot needs there."""

import contextlib
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import URL

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile
from wconv_sweep.doctor.checks import Check, Mark, right, warning, wrong
from wconv_sweep.doctor.database import clock_ahead_s, clock_check
from wconv_sweep.doctor.node_probe import MODULE, NodeProbe, NodeReport
from wconv_sweep.errors import SlurmError, StorageError
from wconv_sweep.launching.code_snapshot import freeze, frozen_code, path_with
from wconv_sweep.launching.slurm.options import batch_job
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.batch import BatchJob, submit
from wconv_sweep.slurm.commands import slurm_environment
from wconv_sweep.slurm.job import JobState
from wconv_sweep.slurm.jobs import alive_jobs, cancel
from wconv_sweep.slurm.reasons import in_words

FOLDER = "_doctor"
"""Name in the folder of all runs; no study can have this name."""
WALLTIME_MIN = 6
RUN_S = 60.0 * WALLTIME_MIN
"""Time for the program, including the import of torch from a slow file system."""
POLL_S = 2.0
_LATE_S = 15.0
"""Time after the end of the job until files of the node show here."""


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
    command = [sys.executable, "-u", "-m", MODULE, str(path)]
    started_s = time.time()
    if isinstance(test.profile, SlurmProfile) and test.shape is not None:
        ran = _submitted(test, test.profile, test.shape, folder, command, probe.report)
    else:
        ran = _started(folder, command)
    yield ran
    if ran.mark is Mark.RIGHT:
        report = NodeReport.model_validate_json(probe.report.read_text("utf-8"))
        yield from _seen_from_here(report, folder, url, started_s)
        yield from report.checks


def _started(folder: RunFolder, command: list[str]) -> Check:
    log = folder.pilots / "job_log.err"
    # Pilots get no URL of the storage from the environment either.
    environment = slurm_environment() | {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": path_with(frozen_code(folder), os.environ.get("PYTHONPATH")),
    }
    with log.open("wb") as file:
        try:
            ended = subprocess.run(
                command, env=environment, stdout=file, stderr=file, timeout=RUN_S, check=False
            )
        except subprocess.TimeoutExpired:
            return wrong(f"test process: not done after {RUN_S:g} s", f"Its log: {log}")
    if ended.returncode:
        return wrong(f"test process: ended with status {ended.returncode}", _log(folder))
    return right("test process: ran as a pilot of this machine does")


def _submitted(
    test: TestJob,
    profile: SlurmProfile,
    shape: PilotShape,
    folder: RunFolder,
    command: list[str],
    report: Path,
) -> Check:
    name = f"wconv-doctor-{folder.path.name}"
    short = replace(shape, nodes=1, pilots=1, walltime_min=min(WALLTIME_MIN, shape.walltime_min))
    planned = batch_job(
        profile, short, name, folder, frozen_code(folder), folder.path / "probe.json"
    )
    job = replace(planned, command=shlex.join(command), grace_s=10)
    number = submit(job, None)
    test.say(f"Test job {number} was submitted; waiting for it (Ctrl-C cancels it).")
    try:
        return _awaited(job, number, folder, report, test.wait_s)
    finally:
        with contextlib.suppress(SlurmError):
            cancel(
                [
                    each
                    for each in alive_jobs(name, (job.cluster,))
                    if each.state is not JobState.COMPLETING
                ]
            )


def _awaited(job: BatchJob, number: str, folder: RunFolder, report: Path, wait_s: float) -> Check:
    begun = time.monotonic()
    running = gone = None
    while not report.exists():
        time.sleep(POLL_S)
        now = time.monotonic()
        try:
            jobs = alive_jobs(job.name, (job.cluster,))
        except SlurmError:
            jobs = ()
            if now - begun < wait_s:
                continue
        if not jobs:
            gone = gone or now
            if now - gone > _LATE_S:
                return wrong(f"test job {number}: ended without a report", _log(folder))
        elif jobs[0].state in (JobState.RUNNING, JobState.COMPLETING):
            running = running or now
            if now - running > RUN_S:
                return wrong(f"test job {number}: not done after {RUN_S:g} s", _log(folder))
        elif now - begun > wait_s:
            why = in_words(jobs[0].reason)
            return warning(
                f"test job {number}: has not started after {wait_s / 60:g} min ({why})",
                "It was cancelled and says nothing about nodes. Allow more time with --wait, or a "
                "--qos or --partition with a shorter queue.",
            )
    return right(f"test job {number}: ran as pilots do")


def _log(folder: RunFolder) -> str:
    """Return the last output of the job and the path of the rest."""
    logs = sorted(folder.pilots.glob("*log.err"))
    if not logs:
        return (
            f"It has written nothing to {folder.pilots}: the node may not see this folder, so "
            "choose one that nodes share with --runs."
        )
    lines = "".join(log.read_text("utf-8", "replace") for log in logs).strip().splitlines()
    said = lines[-1] if lines else "it printed nothing"
    return f"Its last output: {said}. Its log: {logs[-1]}"


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
