"""A study's jobs in SLURM: squeue has the live ones, sacct the ended ones.

A job belongs to a study by its name alone. squeue is believed at once, also about a job that has
just ended (for MinJobAge, 5 minutes by default). sacct is late by seconds, keeps jobs that a
crashed controller has forgotten, calls a job ended that SLURM has put back into the queue under
the same number, and one that was cancelled while it was put back REQUEUED for ever; so it counts
only for jobs that squeue does not show.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm.commands import ask_slurm, unexpected
from wconv_sweep.slurm.reasons import explain, is_held, never_starts

WEEK_S = 7 * 86_400


class JobState(enum.StrEnum):
    """The state of a job; it separates cases that share a state of SLURM's own."""

    PENDING = "pending"
    HELD = "held"
    """Pending until its owner or an administrator releases it."""
    REQUEUED = "requeued"
    """Pending again, after it has run."""
    RUNNING = "running"
    SUSPENDED = "suspended"
    """Has its nodes and does not run; SLURM continues it later."""
    COMPLETING = "completing"
    """Its processes are ending, or it is about to be put back into the queue."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    PREEMPTED = "preempted"
    UNKNOWN = "unknown"
    """Gone from the queue, and accounting has not heard of its end."""


ALIVE = (
    JobState.PENDING,
    JobState.HELD,
    JobState.REQUEUED,
    JobState.RUNNING,
    JobState.SUSPENDED,
    JobState.COMPLETING,
)
_WAITS = (JobState.PENDING, JobState.HELD, JobState.REQUEUED)


@dataclass(frozen=True)
class SlurmJob:
    """One job: an element of an array."""

    job: str
    """The number that the element has of its own, SLURM_JOB_ID; of an element that waits, that of
    its array."""
    array: str
    """Number of the array, or of a job that is none."""
    index: str
    """Of the element within its array; empty for a job that is none."""
    state: JobState
    reason: str
    """SLURM's own word for why it waits, or how it ended."""
    nodes: str
    """Names, in SLURM's short form."""
    start: str
    """When it started, or is expected to, as SLURM writes it."""
    end: str
    """When it ended, or must."""

    @property
    def name(self) -> str:
        """How SLURM shows it, e.g. 1234_5, or 1234 where it is no array."""
        return f"{self.array}_{self.index}" if self.index else self.array

    @property
    def meaning(self) -> str | None:
        """The reason in words; None where SLURM has none, or one that nobody knows."""
        return explain(self.reason) if self.state in _WAITS or not self.alive else None

    @property
    def expected_start(self) -> str:
        """When SLURM expects to start it, as SLURM writes it; empty where it does not know."""
        return self.start if self.state in _WAITS else ""

    @property
    def never_starts(self) -> bool:
        """Whether it waits for what cannot happen: it asks for more than it may have."""
        return self.state in _WAITS and never_starts(self.reason)

    @property
    def alive(self) -> bool:
        """Whether it may still work for its study."""
        return self.state in ALIVE


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

    def count(self, *states: JobState) -> int:
        """Return the number of jobs in any of the states."""
        return sum(job.state in states for job in (*self.alive, *self.ended))


def job_name(study: str, uid: str) -> str:
    """Return the name that all jobs of a study have, and no others."""
    return f"wconv-{study}-{uid[:8]}"


def jobs_of(study: str, uid: str, *, history: bool = True, since_s: int = WEEK_S) -> SlurmView:
    """Return a study's jobs in SLURM; see `views_of`."""
    name = job_name(study, uid)
    return views_of([name], history=history, since_s=since_s)[name]


def views_of(
    names: Sequence[str], *, history: bool = True, since_s: int = WEEK_S
) -> dict[str, SlurmView]:
    """Return the jobs of each name in SLURM; never fails.

    One squeue and one sacct, however many names there are.

    Args:
        names: of jobs, see `job_name`.
        history: also ask accounting for the jobs that have ended.
        since_s: leave out those that ended longer ago; seconds.
    """
    try:
        shown = _shown(names)
    except SlurmError as error:
        warning = f"it is unknown which jobs are running: {error}"
        return dict.fromkeys(names, SlurmView(known=False, warnings=(warning,)))
    if not history:
        return {name: SlurmView(_alive(shown[name])) for name in names}
    try:
        runs = _runs(names, since_s)
    except SlurmError as error:
        warning = f"it is unknown how past jobs ended: {error}"
        return {name: SlurmView(_alive(shown[name]), warnings=(warning,)) for name in names}
    return {name: _view(shown[name], runs.get(name, ())) for name in names}


def alive_jobs(name: str) -> tuple[SlurmJob, ...]:
    """Return the jobs of this name that wait, run or are about to end.

    Raises:
        SlurmAway: the controller does not answer.
        SlurmError: squeue fails.
    """
    return _alive(_shown([name])[name])


def cancel(jobs: Sequence[SlurmJob]) -> None:
    """End these jobs, whole arrays at once: an array belongs to one study.

    Raises:
        SlurmAway: the controller does not answer.
        SlurmError: scancel fails.
    """
    arrays = sorted({job.array for job in jobs})
    for first in range(0, len(arrays), 500):
        ask_slurm(["scancel", *arrays[first : first + 500]])


def runs_in(accounts: str) -> dict[str, list[SlurmJob]]:
    """Return the starts of jobs that sacct has listed, by the name of the job.

    In its order, oldest first; but what it says of a whole array comes before what it says of one
    of its elements, which counts more.
    """
    found: dict[str, list[SlurmJob]] = {}
    # Without a row of its own, an element is one of `1234_[0-2,5]`.
    for line in sorted(accounts.splitlines(), key=lambda line: "_[" not in line):
        name, _, run = line.partition("|")
        if run.count("|") >= _COLUMNS - 2:  # else a notice of the site, or a blank line
            found.setdefault(name, []).extend(_accounted(run))
    return found


_SQUEUE = (
    *("squeue", "--me", "--array", "--noheader", "--states=all"),
    "--format=%j|%A|%F|%K|%T|%N|%S|%e|%r",
)
_SACCT = (
    *("sacct", "--allocations", "--duplicates", "--noheader", "--parsable2"),
    "--format=JobName,JobIDRaw,JobID,State,ExitCode,NodeList,Start,End",
)
_COLUMNS = 8
"""Of a row of sacct."""
# Without them it leaves out a job that was cancelled before it was eligible, as one is that waits
# after a requeue, for two minutes by default.
_STATES = ("--state=BF,CA,CD,DL,F,NF,OOM,PD,PR,R,RQ,RS,S,TO", "--endtime=now")
_QUEUED = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.RUNNING,
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STOPPED": JobState.SUSPENDED,
    "SUSPENDED": JobState.SUSPENDED,
    "COMPLETING": JobState.COMPLETING,
    "STAGE_OUT": JobState.COMPLETING,
    "REQUEUED": JobState.REQUEUED,
    "REQUEUE_FED": JobState.REQUEUED,
    "REQUEUE_HOLD": JobState.HELD,
    "SPECIAL_EXIT": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD,
}
_ENDED = {
    "COMPLETED": JobState.COMPLETED,
    "CANCELLED": JobState.CANCELLED,
    "FAILED": JobState.FAILED,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "NODE_FAIL": JobState.NODE_FAIL,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "PREEMPTED": JobState.PREEMPTED,
}


def _shown(names: Sequence[str]) -> dict[str, list[SlurmJob]]:
    """Return the jobs that squeue shows, those that have ended included."""
    found: dict[str, list[SlurmJob]] = {name: [] for name in names}
    command = (*_SQUEUE, f"--name={','.join(names)}")
    for line in ask_slurm(command).splitlines():
        name, _, queued = line.partition("|")
        if name not in found:
            continue  # a notice of the site, a blank line, the name of a cluster
        try:
            found[name].append(_queued(queued))
        except ValueError as error:
            raise unexpected(command, line) from error
    return found


def _alive(shown: Sequence[SlurmJob]) -> tuple[SlurmJob, ...]:
    return tuple(job for job in shown if job.alive)


def _view(shown: Sequence[SlurmJob], runs: Sequence[SlurmJob]) -> SlurmView:
    alive = _alive(shown)
    living = {job.name for job in alive}
    ended = {run.name: run for run in runs}  # the last one counts
    for job in shown:
        known = ended.get(job.name)
        if known is None or known.state is not job.state:
            ended[job.name] = job
    return SlurmView(
        tuple(_put_back(job, runs) for job in alive),
        tuple(run for name, run in ended.items() if name not in living),
    )


def _queued(line: str) -> SlurmJob:
    job, array, index, word, nodes, start, end, reason = line.split("|", 7)
    state = _QUEUED.get(word)
    if state is None:
        # The controller has not forgotten it yet; its last reason is why it failed, or waited.
        state = _ENDED.get(word, JobState.UNKNOWN)
        reason = f"{word}, {reason}" if state is JobState.FAILED else word
    if state is JobState.PENDING and is_held(reason):
        state = JobState.HELD
    index = "" if index == "N/A" else index
    return SlurmJob(job, array, index, state, reason, nodes, _time(start), _time(end))


def _runs(names: Sequence[str], since_s: int) -> dict[str, list[SlurmJob]]:
    """Return the jobs in accounting, one entry for each start of a job, oldest first."""
    since = f"--starttime=now-{since_s}seconds"
    return runs_in(ask_slurm((*_SACCT, *_STATES, f"--name={','.join(names)}", since)))


def _accounted(line: str) -> list[SlurmJob]:
    job, shown, words, exit_code, nodes, start, end = line.split("|", 6)
    array, _, index = shown.partition("_")
    state = _ENDED.get(words.split(" ", 1)[0], JobState.UNKNOWN)
    reason = words if state is not JobState.FAILED else f"{words}, exit status {exit_code}"
    return [
        SlurmJob(job, array, each, state, reason, nodes, _time(start), _time(end))
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


def _time(text: str) -> str:
    return "" if re.fullmatch(r"N/A|None|NONE|Unknown|", text) else text
