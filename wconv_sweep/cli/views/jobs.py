"""Describes a study's pilots in SLURM."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wconv_sweep.slurm.jobs import JobState, SlurmJob, SlurmView

_WAIT = (JobState.PENDING, JobState.HELD, JobState.REQUEUED, JobState.SUSPENDED)


def jobs_lines(jobs: SlurmView) -> list[str]:
    """Return a line on the jobs in the queue, and one on those that have ended."""
    lines = []
    if jobs.known:
        lines.append(f"pilots: {', '.join(_groups(jobs.alive)) or 'none in the queue'}")
    if jobs.ended:
        lines.append(f"pilots that have ended: {', '.join(_groups(jobs.ended))}")
    return lines


def jobs_json(jobs: SlurmView) -> dict[str, Any]:
    """Return the same as plain data, job by job."""
    return {
        "known": jobs.known,
        "counts": {str(state): jobs.count(state) for state in JobState if jobs.count(state)},
        "alive": [_job(job) for job in jobs.alive],
        "ended": [_job(job) for job in jobs.ended],
        "warnings": list(jobs.warnings),
    }


def _groups(jobs: Sequence[SlurmJob]) -> list[str]:
    """Count the jobs of each state; queued ones also by SLURM's reason."""
    counter = Counter(
        f"{job.state} ({job.reason})" if job.state in _WAIT else str(job.state) for job in jobs
    )
    return [f"{number} {what}" for what, number in counter.most_common()]


def _job(job: SlurmJob) -> dict[str, Any]:
    plain = asdict(job)
    return {"job": job.name} | {
        key: str(plain[key]) for key in ("state", "reason", "nodes", "start", "end")
    }
