"""The user's jobs in the queue of a cluster, all of them in one question.

SLURM sends all of them whatever names squeue is asked for. Without its header it does not say
which cluster a row is of: each cluster is asked by itself.
"""

from dataclasses import dataclass

from wconv_sweep.slurm.commands import ask_slurm, unexpected
from wconv_sweep.slurm.job import ALIVE, JobState, SlurmJob, state_of, time_in
from wconv_sweep.slurm.reasons import is_held


@dataclass(frozen=True)
class QueuedJob:
    """A job, or an element of an array, and what limits of numbers of jobs go by."""

    name: str
    job: SlurmJob
    qos: str
    account: str
    partition: str


def my_queue(cluster: str | None = None) -> list[QueuedJob]:
    """Return the user's jobs, also those that have ended a moment ago.

    Args:
        cluster: SLURM's name of it; None: that of this machine.

    Raises:
        SlurmAway: the controller does not answer.
        SlurmError: squeue fails.
    """
    found = []
    for line in ask_slurm(_SQUEUE, cluster=cluster).splitlines():
        word, *columns = line.split("|", _COLUMNS)
        if len(columns) < _COLUMNS:
            if word in _QUEUED:
                raise unexpected(_SQUEUE, line)
            continue  # a notice of the site, or a blank line
        found.append(_queued(word, *columns, cluster=cluster))
    return found


# The name and the reason are free text.
_SQUEUE = (
    # Since 24.11 at the latest, it shows revoked jobs with --all only.
    *("squeue", "--me", "--array", "--noheader", "--states=all", "--all"),
    "--format=%T|%q|%a|%P|%A|%F|%K|%N|%S|%e|%j|%r",
)
_COLUMNS = 11
"""Beside the state."""
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
    "EXPEDITING": JobState.REQUEUED,  # 26.05
    "REQUEUE_HOLD": JobState.HELD,
    "SPECIAL_EXIT": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD,
}


def _queued(
    word: str,
    qos: str,
    account: str,
    partition: str,
    number: str,
    array: str,
    index: str,
    nodes: str,
    start: str,
    end: str,
    name: str,
    reason: str,
    *,
    cluster: str | None,
) -> QueuedJob:
    state = _QUEUED.get(word)
    if word == "REVOKED":
        # Until it ends on the other cluster, its start is now, and some seconds later unknown.
        # Then, and of a copy on a cluster that never had it, both are when it was revoked.
        ended = time_in(start) and start == end
        state = JobState.UNKNOWN if ended else JobState.REVOKED
    if state is None:
        state = state_of(word)
    if state not in ALIVE:
        # The controller has not forgotten it yet; its last reason is why it failed, or waited.
        reason = f"{word}, {reason}" if state is JobState.FAILED else word
    if state is JobState.PENDING and is_held(reason):
        state = JobState.HELD
    index = "" if index == "N/A" else index
    job = SlurmJob(
        number, array, index, state, reason, nodes, time_in(start), time_in(end), cluster
    )
    return QueuedJob(name, job, qos, account, partition)
