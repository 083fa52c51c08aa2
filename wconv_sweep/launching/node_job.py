"""Runs a program once on a node, as pilots are run there, and waits for its report."""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import LocalProfile, SlurmProfile
from wconv_sweep.errors import SlurmError
from wconv_sweep.launching.code_snapshot import frozen_code, path_with
from wconv_sweep.launching.slurm.options import batch_job
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.batch import BatchJob, submit
from wconv_sweep.slurm.commands import slurm_environment
from wconv_sweep.slurm.job import JobState
from wconv_sweep.slurm.jobs import alive_jobs, cancel
from wconv_sweep.slurm.reasons import in_words

POLL_S = 2.0
_LATE_S = 15.0
"""Time after the end of the job until files of the node show here."""
_GRACE_S = 10
"""Time between SLURM's signal and the end of the job."""


@dataclass(frozen=True, kw_only=True)
class NodeJob:
    """A program that reads an order and writes a report, both in a folder of its own."""

    word: str
    """Says in messages what it is for, e.g. "test"."""
    name: str
    """Of the job in SLURM, which no other has."""
    module: str
    profile: SlurmProfile | LocalProfile
    shape: PilotShape | None
    """Of pilots; None for processes of this machine."""
    folder: RunFolder
    """Holds the frozen program; gets the logs."""
    order: Path
    """First argument of the program."""
    report: Path
    """Written by the program, at once and last."""
    run_min: int
    """Time for the program, including the import of torch from a slow file system."""
    wait_s: float
    """A job is canceled if it has not started after this time."""
    say: Callable[[str], None]
    """Called with a line on what is being waited for."""


@dataclass(frozen=True)
class NodeJobEnd:
    """How it ended."""

    what: str
    """In a line."""
    remedy: str = ""
    """What to do; empty if the report is there."""
    never_started: bool = False
    """Whether it was canceled in the queue, which says nothing about nodes."""

    @property
    def has_report(self) -> bool:
        """Whether the program has written its report."""
        return not self.remedy


def run_on_node(job: NodeJob) -> NodeJobEnd:
    """Run the program as a process of this machine, or as one short job, to its end.

    Ctrl-C ends the process, or cancels the job.

    Raises:
        SlurmError: the site does not take the job.
    """
    command = [sys.executable, "-u", "-m", job.module, str(job.order)]
    if isinstance(job.profile, SlurmProfile) and job.shape is not None:
        return _submitted(job, job.profile, job.shape, command)
    return _started(job, command)


def _started(job: NodeJob, command: list[str]) -> NodeJobEnd:
    what = f"{job.word} process"
    log = job.folder.pilots / "job_log.err"
    # Pilots get no URL of the storage from the environment either.
    environment = slurm_environment() | {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": path_with(frozen_code(job.folder), os.environ.get("PYTHONPATH")),
    }
    with log.open("wb") as file:
        try:
            ended = subprocess.run(
                command,
                env=environment,
                stdout=file,
                stderr=file,
                timeout=60.0 * job.run_min,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return NodeJobEnd(f"{what}: not done after {60 * job.run_min} s", f"Its log: {log}")
    if ended.returncode:
        return NodeJobEnd(f"{what}: ended with status {ended.returncode}", _log(job.folder))
    return NodeJobEnd(f"{what}: ran as a pilot of this machine does")


def _submitted(
    job: NodeJob, profile: SlurmProfile, shape: PilotShape, command: list[str]
) -> NodeJobEnd:
    folder = job.folder
    short = replace(shape, nodes=1, pilots=1, walltime_min=min(job.run_min, shape.walltime_min))
    planned = batch_job(profile, short, job.name, folder, frozen_code(folder), job.order)
    batch = replace(planned, command=shlex.join(command), grace_s=_GRACE_S)
    number = submit(batch, None)
    job.say(
        f"{job.word.capitalize()} job {number} was submitted; waiting for it (Ctrl-C cancels it)."
    )
    try:
        return _awaited(job, batch, f"{job.word} job {number}")
    finally:
        with contextlib.suppress(SlurmError):
            alive = alive_jobs(batch.name, (batch.cluster,))
            cancel([each for each in alive if each.state is not JobState.COMPLETING])


def _awaited(job: NodeJob, batch: BatchJob, what: str) -> NodeJobEnd:
    begun = time.monotonic()
    running = gone = None
    while not job.report.exists():
        time.sleep(POLL_S)
        now = time.monotonic()
        try:
            jobs = alive_jobs(batch.name, (batch.cluster,))
        except SlurmError:
            jobs = ()
            if now - begun < job.wait_s:
                continue
        if not jobs:
            gone = gone or now
            if now - gone > _LATE_S:
                return NodeJobEnd(f"{what}: ended without a report", _log(job.folder))
        elif jobs[0].state in (JobState.RUNNING, JobState.COMPLETING):
            running = running or now
            if now - running > 60 * job.run_min:
                return NodeJobEnd(f"{what}: not done after {60 * job.run_min} s", _log(job.folder))
        elif now - begun > job.wait_s:
            why = in_words(jobs[0].reason)
            return NodeJobEnd(
                f"{what}: has not started after {job.wait_s / 60:g} min ({why})",
                "It was cancelled and says nothing about nodes. Allow more time with --wait, or a "
                "--qos or --partition with a shorter queue.",
                never_started=True,
            )
    return NodeJobEnd(f"{what}: ran as pilots do")


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
