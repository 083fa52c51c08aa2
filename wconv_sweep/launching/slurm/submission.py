"""Keeps the wanted number of pilots of a study in SLURM's queue, and never more.

squeue says how many there are, not a file: a command killed right after sbatch has submitted
all the same. One command at a time counts and submits; all login nodes share the storage.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from wconv_sweep.errors import SlurmAway, SlurmError
from wconv_sweep.launching.slurm.submit_limits import SubmitLimits
from wconv_sweep.pilots.command import pilot_command, write_order
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.batch import BatchJob, submit
from wconv_sweep.slurm.jobs import JobState, SlurmJob, alive_jobs
from wconv_sweep.slurm.orders import next_order
from wconv_sweep.slurm.refusals import no_array, too_many
from wconv_sweep.storage.open_storage import Storage


@dataclass(frozen=True)
class Submission:
    """The outcome of a top-up."""

    alive_before: int
    submitted: int
    wanted: int
    held_back: str = ""
    """SLURM's reason why there are fewer than wanted."""
    held: tuple[str, ...] = ()
    """Earlier ones that do not start until somebody releases them."""
    never_start: tuple[SlurmJob, ...] = ()
    """Earlier ones that can never start."""
    beyond_limits: tuple[str, ...] = ()
    """Why the submitted ones could never start, each reason with what to do."""

    @property
    def missing(self) -> int:
        """Number of wanted pilots that are not in the queue."""
        return max(0, self.wanted - self.alive_before - self.submitted)


def top_up(
    storage: Storage,
    folder: RunFolder,
    wanted: int,
    order: PilotOrder,
    job: BatchJob,
    *,
    limits: Callable[[], SubmitLimits],
) -> Submission:
    """Submit the missing pilots.

    Args:
        storage: of the study; lets one command at a time do this.
        folder: of the study.
        wanted: number of pilots to keep queued or running.
        order: for each array, with another first number.
        job: the same, with the order in its command.
        limits: returns what the site allows just now.

    Raises:
        SlurmError: the site takes none at all.
        SlurmAway: their number is unknown; if sbatch did not answer, the next call will know it.
    """
    with storage.alone():
        there = alive_jobs(job.name)
        before = len(there)
        submitted, held_back = 0, ""
        beyond_limits: tuple[str, ...] = ()
        while before + submitted < wanted:
            allowed = limits()
            beyond_limits = allowed.never_start
            if allowed.room == 0 and before + submitted:
                held_back = "the site allows you no more jobs in the queue"
                break
            # If not even one is allowed, the site's own message says so.
            # Where the site takes no arrays, each is a job of its own.
            largest = allowed.array or 1
            count = min(wanted - before - submitted, largest, allowed.room or largest)
            try:
                submitted += _submit_some(folder, order, job, count, arrays=allowed.array > 0)
            except SlurmAway:
                raise
            except SlurmError as error:
                if not submitted and not (before and too_many(error)):
                    raise
                held_back = str(error)
                break
    held = tuple(each.name for each in there if each.state is JobState.HELD)
    never_start = tuple(each for each in there if each.never_starts)
    return Submission(before, submitted, wanted, held_back, held, never_start, beyond_limits)


def _submit_some(
    folder: RunFolder, order: PilotOrder, job: BatchJob, count: int, *, arrays: bool
) -> int:
    """Submit an array of `count` pilots, or of as many as the site allows; return the number."""
    known = {each.array for each in alive_jobs(job.name)}
    while True:
        path, first = next_order(folder, count)
        write_order(order.model_copy(update={"pilot": first}), path)
        try:
            submit(replace(job, command=pilot_command(path)), count if arrays else None)
        except SlurmAway:
            # The request may have arrived although the answer did not; then the order is needed.
            if {each.array for each in alive_jobs(job.name)} <= known:
                raise
            return count
        except SlurmError as error:
            path.unlink()
            if count == 1 and arrays and no_array(error):
                arrays = False
                continue
            if count == 1 or not too_many(error):
                raise
            count = (count + 1) // 2
        else:
            return count
