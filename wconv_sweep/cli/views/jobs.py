"""Describes a study's pilots in SLURM, and says why they wait or how they ended."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.jobs import SlurmView

_WAIT = (JobState.PENDING, JobState.HELD, JobState.REQUEUED, JobState.SUSPENDED)


def jobs_lines(jobs: SlurmView, *, meanings: bool = True) -> list[str]:
    """Return a line on the jobs in the queue, and one on those that have ended.

    Args:
        jobs: of a study.
        meanings: add a line for each reason why jobs wait, or how they ended, in words.
    """
    lines = []
    if jobs.known:
        lines.append(f"pilots: {', '.join(_groups(jobs.alive)) or 'none in the queue'}")
        lines += _meanings([job for job in jobs.alive if job.state in _WAIT]) if meanings else []
    if jobs.ended:
        lines.append(f"pilots that have ended: {', '.join(_groups(jobs.ended))}")
        lines += _meanings(jobs.ended) if meanings else []
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
    counter = Counter(f"{job.state}{_why(job)}" for job in jobs)
    return [f"{number} {what}" for what, number in counter.most_common()]


def _why(job: SlurmJob) -> str:
    if job.state not in _WAIT:
        return ""
    return f" ({job.reason}, never starts)" if job.never_starts else f" ({job.reason})"


def _meanings(jobs: Sequence[SlurmJob]) -> list[str]:
    """Say what the reasons of jobs mean, each meaning once, and the first expected start."""
    meant: dict[str, list[SlurmJob]] = {}
    for job in jobs:
        meant.setdefault(job.meaning or job.reason, []).append(job)
    lines = []
    for alike in meant.values():
        starts = min((job.expected_start for job in alike if job.expected_start), default="")
        said = [f"{alike[0].meaning}{alike[0].where}"] if alike[0].meaning else []
        said += [f"SLURM expects the first to start at {starts}"] if starts else []
        lines += [f"  {alike[0].reason}: {'; '.join(said)}"] if said else []
    return lines


def _job(job: SlurmJob) -> dict[str, Any]:
    plain = asdict(job)
    return (
        {"job": job.name, "slurm_cluster": job.cluster}
        | {key: str(plain[key]) for key in ("state", "reason", "nodes", "start", "end")}
        | {"meaning": job.meaning, "never_starts": job.never_starts}
    )
