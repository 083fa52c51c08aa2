"""Shows a personal PostgreSQL and the jobs that run it: `db status`."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wconv_sweep.errors import SlurmError
from wconv_sweep.server.server_status import ServerStatus
from wconv_sweep.server.slurm import jobs_of, logs_of
from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.reasons import in_words


@dataclass(frozen=True)
class ServerJobs:
    """The jobs of a server."""

    jobs: tuple[SlurmJob, ...]
    """In their order: the one that runs, and the one that goes on after it."""
    logs: Path
    problem: str | None = None
    """Why they are unknown."""


def jobs_of_server(folder: Path) -> ServerJobs:
    """Return the jobs of the server of a folder, that runs as a job; never fails."""
    try:
        return ServerJobs(tuple(jobs_of(folder)), logs_of(folder))
    except SlurmError as error:
        return ServerJobs((), logs_of(folder), str(error))


def server_json(known: ServerStatus, jobs: ServerJobs | None) -> dict[str, Any]:
    """Return the status of a server as plain data, `jobs` null where it is none or unknown."""
    shown = None
    if jobs is not None and jobs.problem is None:
        shown = [
            {"job": job.job, "state": str(job.state), "reason": job.reason, "end": job.end}
            for job in jobs.jobs
        ]
    return asdict(known) | {"jobs": shown}


def print_server(known: ServerStatus, jobs: ServerJobs | None) -> None:
    """Print the status of a server.

    Args:
        known: its status.
        jobs: None for a server that is no job.
    """
    if known.running:
        _print_running(known)
    else:
        print(f"{known.folder}: not running: {known.reason}")
    if jobs is not None:
        print(f"job:         {_jobs_text(jobs)}")
    if known.running:
        print(f"storage:     {known.url}")


def _print_running(known: ServerStatus) -> None:
    where = f"{known.address}, port {known.port}, of {known.host}"
    print(f"{known.folder}: running on {where}")
    if known.reason:
        print(f"reason:      {known.reason}")
    if known.since is not None:
        print(f"since:       {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(known.since))}")
    if known.version is not None and known.size_bytes is not None:
        print(f"version:     PostgreSQL {known.version}, {'TLS' if known.tls else 'no TLS'}")
        print(f"size:        {known.size_bytes / 1e6:.1f} MB")
        print(f"connections: {known.connections} of {known.max_connections}")


def _jobs_text(jobs: ServerJobs) -> str:
    if jobs.problem is not None:
        return f"unknown: {jobs.problem}"
    if not jobs.jobs:
        return f"none; its log is in {jobs.logs}"
    first, *others = jobs.jobs
    if first.state not in (JobState.RUNNING, JobState.COMPLETING):
        return f"{first.job} is {first.state} ({in_words(first.reason)})"
    then = (
        f"job {others[0].job} goes on after it"
        if others
        else f"no job goes on after it; see the log in {jobs.logs}"
    )
    return f"{first.job}, until {first.end}; {then}"
