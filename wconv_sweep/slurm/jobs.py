"""A study's jobs in SLURM: squeue has the live ones, sacct the ended ones.

A job belongs to a study by its name alone. squeue is believed at once, also about a job that has
just ended (for MinJobAge, 5 minutes by default). sacct is late by seconds, keeps jobs that a
crashed controller has forgotten, calls a job ended that SLURM has put back into the queue under
the same number, and one that was cancelled while it was put back REQUEUED for ever; so it counts
only for jobs that squeue does not show.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm.clusters import HERE, Clusters, to_ask
from wconv_sweep.slurm.commands import ask_slurm
from wconv_sweep.slurm.job import JobState, SlurmJob, state_of, time_in
from wconv_sweep.slurm.queue import QueuedJob, my_queue

WEEK_S = 7 * 86_400


@dataclass(frozen=True)
class SlurmView:
    """A study's jobs at one moment."""

    alive: tuple[SlurmJob, ...] = ()
    ended: tuple[SlurmJob, ...] = ()
    """The last run of each; a job that was put back into the queue has not ended."""
    known: bool = True
    """Whether squeue has answered: without it, it is unknown which jobs live."""
    warnings: tuple[str, ...] = ()
    """Programs that did not answer; a warning, never a verdict on a job."""

    def __add__(self, other: "SlurmView") -> "SlurmView":
        """Return the jobs of a study on two clusters."""
        return SlurmView(
            self.alive + other.alive,
            self.ended + other.ended,
            self.known and other.known,
            self.warnings + other.warnings,
        )

    def count(self, *states: JobState) -> int:
        """Return the number of jobs in any of the states."""
        return sum(job.state in states for job in (*self.alive, *self.ended))


def job_name(study: str, uid: str) -> str:
    """Return the name that all jobs of a study have, and no others."""
    return f"wconv-{study}-{uid[:8]}"


def jobs_of(
    study: str,
    uid: str,
    clusters: Clusters = HERE,
    *,
    history: bool = True,
    since_s: int = WEEK_S,
) -> SlurmView:
    """Return a study's jobs in SLURM; see `views_of`."""
    name = job_name(study, uid)
    return views_of({name: clusters}, history=history, since_s=since_s)[name]


def views_of(
    clusters: Mapping[str, Clusters], *, history: bool = True, since_s: int = WEEK_S
) -> dict[str, SlurmView]:
    """Return the jobs of each name in SLURM; never fails.

    One squeue and one sacct for each cluster, however many names there are.

    Args:
        clusters: those that each name may have jobs on; for names, see `job_name`.
        history: also ask accounting for the jobs that have ended.
        since_s: leave out those that ended longer ago; seconds.
    """
    views = {name: SlurmView() for name in clusters}
    asked: dict[str | None, list[str]] = {}
    for name, its in clusters.items():
        for cluster in to_ask(its):
            asked.setdefault(cluster, []).append(name)
    for cluster, names in asked.items():
        found = _views_on(cluster, names, history=history, since_s=since_s)
        for name, view in found.items():
            views[name] += view
    return views


def alive_jobs(name: str, clusters: Clusters = HERE) -> tuple[SlurmJob, ...]:
    """Return the jobs of this name that wait, run or are about to end.

    Raises:
        SlurmAway: a controller does not answer.
        SlurmError: squeue fails.
    """
    return tuple(
        job for cluster in to_ask(clusters) for job in alive_among(my_queue(cluster), name)
    )


def alive_among(queue: Sequence[QueuedJob], name: str) -> tuple[SlurmJob, ...]:
    """Return the same of a queue that is known already."""
    return tuple(each.job for each in queue if each.name == name and each.job.alive)


def cancel(jobs: Sequence[SlurmJob]) -> None:
    """End these jobs, whole arrays at once: an array belongs to one study.

    Raises:
        SlurmAway: a controller does not answer.
        SlurmError: scancel fails.
    """
    for cluster in dict.fromkeys(job.cluster for job in jobs):
        arrays = sorted({job.array for job in jobs if job.cluster == cluster})
        for first in range(0, len(arrays), 500):
            ask_slurm(["scancel", *arrays[first : first + 500]], cluster=cluster)


def runs_in(accounts: str, cluster: str | None = None) -> dict[str, list[SlurmJob]]:
    """Return the starts of jobs that sacct has listed, by the name of the job.

    In its order, oldest first; but what it says of a whole array comes before what it says of one
    of its elements, which counts more.
    """
    found: dict[str, list[SlurmJob]] = {}
    # Without a row of its own, an element is one of `1234_[0-2,5]`.
    for line in sorted(accounts.splitlines(), key=lambda line: "_[" not in line):
        name, _, run = line.partition("|")
        if run.count("|") >= _COLUMNS - 2:  # else a notice of the site, or a blank line
            found.setdefault(name, []).extend(_accounted(run, cluster))
    return found


_SACCT = (
    *("sacct", "--allocations", "--duplicates", "--noheader", "--parsable2"),
    "--format=JobName,JobIDRaw,JobID,State,ExitCode,NodeList,Start,End",
)
_COLUMNS = 8
"""Of a row of sacct."""
# Without them it leaves out a job that was cancelled before it was eligible, as one is that waits
# after a requeue, for two minutes by default.
_STATES = ("--state=BF,CA,CD,DL,F,NF,OOM,PD,PR,R,RQ,RS,S,TO", "--endtime=now")


def _views_on(
    cluster: str | None, names: Sequence[str], *, history: bool, since_s: int
) -> dict[str, SlurmView]:
    try:
        queue = my_queue(cluster)
    except SlurmError as error:
        return dict.fromkeys(names, _unknown(error))
    alive = {name: alive_among(queue, name) for name in names}
    if not history:
        return {name: SlurmView(alive[name]) for name in names}
    try:
        runs = _runs(cluster, names, since_s)
    except SlurmError as error:
        warning = f"it is unknown how past jobs ended: {error}"
        return {name: SlurmView(alive[name], warnings=(warning,)) for name in names}
    return {
        name: _view([each.job for each in queue if each.name == name], runs.get(name, ()))
        for name in names
    }


def _unknown(error: SlurmError) -> SlurmView:
    warning = f"it is unknown which jobs are running: {error}"
    return SlurmView(known=False, warnings=(warning,))


def _view(shown: Sequence[SlurmJob], runs: Sequence[SlurmJob]) -> SlurmView:
    alive = tuple(job for job in shown if job.alive)
    living = {job.name for job in alive}
    ended = {run.name: run for run in runs}  # the last one counts
    for job in shown:
        known = ended.get(job.name)
        if known is None or known.state is not job.state:
            ended[job.name] = job
    return SlurmView(
        tuple(_put_back(job, runs) for job in alive),
        tuple(_for_good(run) for name, run in ended.items() if name not in living),
    )


def _for_good(run: SlurmJob) -> SlurmJob:
    """Return a job that has ended, and not to be put back, whatever accounting calls it."""
    return replace(run, reason="CANCELLED") if run.reason == "REQUEUED" else run


def _runs(cluster: str | None, names: Sequence[str], since_s: int) -> dict[str, list[SlurmJob]]:
    """Return the jobs in accounting, one entry for each start of a job, oldest first."""
    since = f"--starttime=now-{since_s}seconds"
    command = (*_SACCT, *_STATES, f"--name={','.join(names)}", since)
    return runs_in(ask_slurm(command, cluster=cluster), cluster)


def _accounted(line: str, cluster: str | None) -> list[SlurmJob]:
    job, shown, words, exit_code, nodes, start, end = line.split("|", 6)
    array, _, index = shown.partition("_")
    state = state_of(words.split(" ", 1)[0])
    reason = words if state is not JobState.FAILED else f"{words}, exit status {exit_code}"
    return [
        SlurmJob(job, array, each, state, reason, nodes, time_in(start), time_in(end), cluster)
        for each in _indices(index)
    ]


def _indices(index: str) -> list[str]:
    """Return the elements in SLURM's short form: of `[0-2,5,7-11:2%4]` 0, 1, 2, 5, 7, 9, 11."""
    if not index.startswith("["):
        return [index]
    found: list[str] = []
    for part in index.strip("[]").split("%")[0].split(","):
        shown = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if shown:
            first, last, step = shown.groups()
            elements = range(int(first), int(last or first) + 1, int(step or 1))
            found += [str(number) for number in elements]
    return found


def _put_back(job: SlurmJob, runs: Sequence[SlurmJob]) -> SlurmJob:
    """Return a job that waits, with what its last run ended with if it has had one."""
    before = [run for run in runs if run.name == job.name and run.start]
    if job.state is not JobState.PENDING or not before:
        return job
    return replace(job, state=JobState.REQUEUED, reason=f"{job.reason} after {before[-1].reason}")
