"""A pilot's queries and commands to SLURM about its own job.

None of it is needed for training: when the controller does not answer, the pilot takes the second
best answer and runs on.
"""

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from wconv_sweep.log import event
from wconv_sweep.slurm.values import pairs

logger = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 30.0
"""Time for a command, which hangs if the controller does not answer, seconds."""
_IN_SECONDS = {"SLURM_TIME_FORMAT": "%s"}


def hosts_in(names: str) -> tuple[str, ...]:
    """Return the nodes of a list such as `n[01-02]`; the list itself if SLURM does not answer."""
    expanded = _ask("scontrol", "show", "hostnames", names)
    return tuple(expanded.split()) if expanded else (names,)


@dataclass(frozen=True)
class JobTimes:
    """From when to when a job has its nodes, seconds since 1970."""

    start_s: float
    end_s: float


def job_times(
    job: str, walltime_s: float, environment: Mapping[str, str] = os.environ
) -> JobTimes:
    """Return when a running job got its nodes, and when it must end.

    Args:
        job: as SLURM prints it.
        walltime_s: its time limit; if SLURM does not answer, the job starts now.
        environment: of this process; SLURM 23.02 and later set both times there.
    """
    start, end = (environment.get(f"SLURM_JOB_{each}_TIME", "") for each in ("START", "END"))
    if not (start and end):
        facts = job_facts(job)
        start, end = facts.get("StartTime", ""), facts.get("EndTime", "")
    now = time.time()
    return JobTimes(
        start_s=float(start) if re.fullmatch(r"\d+", start) else now,
        end_s=float(end) if re.fullmatch(r"\d+", end) else now + walltime_s,
    )


def job_facts(job: str) -> dict[str, str]:
    """Return SLURM's facts about a job, times in seconds since 1970; empty without an answer."""
    line = _ask("scontrol", "show", "job", "--oneliner", job) or ""
    return pairs(line)


def requeue(job: str) -> bool:
    """Put a running job of one's own back into the queue, which ends its processes.

    Nothing is done to a job that is not running: it has been cancelled, or SLURM itself has put
    it back.
    """
    state = job_facts(job).get("JobState")
    if state != "RUNNING":
        logger.info(event("job is not put back into the queue", job=job, state=state))
        return False
    return _ask("scontrol", "requeue", job) is not None


def on_node(host: str) -> tuple[str, ...]:
    """Return the prefix that runs a command on another node of this job.

    Its step overlaps that of the agents, which holds all that the job has: GPUs and cores are
    shared, and the memory is that of the job, since none of it is left.
    """
    one_task = ("--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={host}", "--mem=0")
    return ("srun", "--export=ALL", *one_task)


def _ask(*command: str) -> str | None:
    """Return the output of a command; None if it fails."""
    # SLURM's signals reach every process of the job, and would end this command, too.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR2))
    try:
        ended = subprocess.run(
            command,
            env=os.environ | _IN_SECONDS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning(event("SLURM does not answer", command=" ".join(command), why=error))
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if ended.returncode:
        why = ended.stderr.strip() or ended.returncode
        logger.warning(event("SLURM refuses", command=" ".join(command), why=why))
        return None
    return ended.stdout
