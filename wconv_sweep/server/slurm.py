"""Starts, finds and stops a personal PostgreSQL that runs as a job of SLURM.

Login nodes kill long-running programs. The job publishes its address in the folder of all
runs: pilots and later commands find it there, also after it has moved to another node.
"""

import hashlib
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from wconv_sweep.errors import StorageError
from wconv_sweep.server.folder import ServerFolder
from wconv_sweep.server.server_status import ServerStatus
from wconv_sweep.server.setup import programs_for
from wconv_sweep.slurm.batch import BatchJob, submit
from wconv_sweep.slurm.jobs import SlurmJob, alive_jobs, cancel
from wconv_sweep.slurm.reasons import in_words

GRACE_S = 120
"""Time before the end of the job at which the server is asked to stop, seconds."""
CPUS = 2
_QUEUE_LOOK_S = 10.0
_LOOK_S = 1.0


def job_of(path: Path) -> SlurmJob | None:
    """Return the job that runs, or will run, the server of a folder.

    Raises:
        SlurmError: SLURM does not answer properly.
    """
    return next(iter(alive_jobs(_name(path))), None)


def submit_server(path: Path, options: dict[str, str | int], walltime_min: int) -> str:
    """Submit the job of a server, for which there is none.

    Args:
        path: the folder, made already and owned by the user that the server runs as.
        options: of sbatch.
        walltime_min: time limit of the job, minutes.

    Returns:
        The number of the job.

    Raises:
        SlurmError: the site does not take it.
        StorageError: there are no programs of PostgreSQL.
    """
    programs_for(ServerFolder(path))
    logs = path.parent / f"{path.name}_job"
    logs.mkdir(exist_ok=True)
    words = [sys.executable, "-u", "-m", "wconv_sweep.server.job", str(path)]
    job = BatchJob(
        name=_name(path),
        folder=logs,
        command=shlex.join(words),
        code=None,
        options={"no-requeue": True} | options,
        walltime_min=walltime_min,
        grace_s=GRACE_S,
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
                logs = path.parent / f"{path.name}_job"
                raise StorageError(
                    f"{path}: the job of the server has ended, and the server does not run. Its "
                    f"log is in {logs}."
                )
            why = f" ({in_words(job.reason)})" if job.meaning else ""
            now = f"job {job.job} is {job.state}{why}"
            if now != reason:
                say(f"{now}; Ctrl-C leaves it in the queue")
                reason = now
        time.sleep(_LOOK_S)


def stop_server(path: Path) -> bool:
    """Cancel the job of a server, which shuts it down properly; return whether there was one.

    Raises:
        SlurmError: SLURM does not answer.
    """
    job = job_of(path)
    if job is None:
        return False
    cancel([job])
    while job_of(path) is not None:
        time.sleep(_LOOK_S)
    return True


def _name(path: Path) -> str:
    """Return the name of the job: one for each folder."""
    return f"wconv-postgres-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
