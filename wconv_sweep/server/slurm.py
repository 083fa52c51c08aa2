"""Starts, finds and stops a personal PostgreSQL that runs as a job of SLURM.

Login nodes kill long-running programs. The job publishes its address in the folder of all
runs: pilots and later commands find it there, also after it has moved to another node. While it
runs, the next job waits for its end, see `wconv_sweep.server.successor`.
"""

import hashlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.errors import StorageError
from wconv_sweep.server.folder import ServerFolder
from wconv_sweep.server.server_status import ServerStatus
from wconv_sweep.server.setup import programs_for
from wconv_sweep.slurm.batch import BatchJob, submit
from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.jobs import alive_jobs, cancel
from wconv_sweep.slurm.reasons import in_words

GRACE_S = 120
"""Time before the end of the job at which the server is asked to stop, seconds."""
CPUS = 2
_CLUSTER = "slurm_cluster"
"""File beside the logs of the jobs."""
_QUEUE_LOOK_S = 10.0
_LOOK_S = 1.0
_WAITING = (JobState.PENDING, JobState.HELD)


@dataclass(frozen=True, kw_only=True)
class ServerRequest:
    """What all jobs of a server ask of SLURM, one after the other."""

    options: Mapping[str, str | int]
    """Of sbatch."""
    walltime_min: int
    """Time limit of each job, minutes."""
    once: bool = False
    """Whether no other job goes on with the server when the time of the first one is up."""
    cluster: str | None = None
    """SLURM's name of the one that gets them; None: that of the machine that asks."""


def jobs_of(path: Path) -> list[SlurmJob]:
    """Return the jobs of the server of a folder in their order: the one that runs comes first.

    Raises:
        SlurmError: SLURM does not answer properly.
    """
    alive = alive_jobs(_name(path), (_cluster_of(path),))
    return sorted(alive, key=lambda job: (job.state in _WAITING, int(job.array)))


def job_of(path: Path) -> SlurmJob | None:
    """Return the job that runs, or will run, the server of a folder.

    Raises:
        SlurmError: SLURM does not answer properly.
    """
    return next(iter(jobs_of(path)), None)


def waiting_after(path: Path, job: str) -> str | None:
    """Return the job of a server that waits on this cluster beside the running one, if any.

    Raises:
        SlurmError: SLURM does not answer properly.
    """
    alive = alive_jobs(_name(path))
    return next(
        (each.array for each in alive if each.array != job and each.state in _WAITING), None
    )


def logs_of(path: Path) -> Path:
    """Return the folder of the logs of a server's jobs."""
    return path.parent / f"{path.name}_job"


def submit_server(path: Path, request: ServerRequest, *, after: str | None = None) -> str:
    """Submit a job of a server. It starts when no other job of the server runs.

    Args:
        path: the folder; where its user is another one than this process, made already.
        request: of the job.
        after: number of the job that has to end first, with all of its processes.

    Returns:
        The number of the job.

    Raises:
        SlurmError: the site does not take it.
        StorageError: there are no programs of PostgreSQL.
    """
    programs_for(ServerFolder(path))
    logs = logs_of(path)
    logs.mkdir(parents=True, exist_ok=True)
    # The one that goes on is submitted on a node of the cluster itself.
    cluster = None if after else request.cluster
    if not after:
        replace_file(logs / _CLUSTER, f"{cluster or ''}\n")
    module = "wconv_sweep.server.job"
    words = [sys.executable, "-u", "-m", module, str(path), json.dumps(asdict(request))]
    # `singleton`: none of the same name runs, whoever has submitted it.
    dependency = "singleton" if after is None else f"afterany:{after},singleton"
    job = BatchJob(
        name=_name(path),
        folder=logs,
        command=shlex.join(words),
        code=None,
        options={"no-requeue": True, "dependency": dependency, **request.options},
        walltime_min=request.walltime_min,
        grace_s=GRACE_S,
        cluster=cluster,
        cpus=CPUS,
    )
    return submit(job, None)


def wait_for(
    path: Path, look: Callable[[], ServerStatus], say: Callable[[str], None]
) -> ServerStatus:
    """Return once the server of a job answers.

    Args:
        path: the folder of the server.
        look: returns its status, as the user that it runs as.
        say: called with the reason why it does not yet.

    Raises:
        StorageError: the job has ended without it.
    """
    reason, looked_s = "", float("-inf")
    while True:
        known = look()
        if known.running:
            return known
        if time.monotonic() - looked_s >= _QUEUE_LOOK_S:
            job, looked_s = job_of(path), time.monotonic()
            if job is None:
                raise StorageError(
                    f"{path}: the job of the server has ended, and the server does not run. Its "
                    f"log is in {logs_of(path)}."
                )
            why = "" if job.reason in ("", "None") else f" ({in_words(job.reason)})"
            now = f"job {job.job} is {job.state}{why}"
            if now != reason:
                say(f"{now}; Ctrl-C leaves it in the queue")
                reason = now
        time.sleep(_LOOK_S)


def stop_server(path: Path) -> bool:
    """Cancel the jobs of a server, the waiting one too; return whether there were any.

    The one that runs shuts the server down properly.

    Raises:
        SlurmError: SLURM does not answer.
    """
    cancelled = set[str]()
    # Again, until there is none: the one that runs may be submitting the next one.
    while jobs := jobs_of(path):
        new = [job for job in jobs if job.array not in cancelled]
        # The waiting one first: it is not to start when the other one ends.
        for job in reversed(new):
            cancel([job])
        cancelled |= {job.array for job in new}
        time.sleep(_LOOK_S)
    return bool(cancelled)


def _cluster_of(path: Path) -> str | None:
    """Return SLURM's name of the cluster that got the last job; None: that of this machine."""
    try:
        return (logs_of(path) / _CLUSTER).read_text("utf-8").strip() or None
    except OSError:
        return None


def _name(path: Path) -> str:
    """Return the name of the job: one for each folder."""
    return f"wconv-postgres-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
