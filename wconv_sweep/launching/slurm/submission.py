"""Keeps the wanted number of pilots of a study in SLURM's queue, and never more.

squeue says how many there are, not a file: a command killed right after sbatch has submitted
all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wconv_sweep.errors import SlurmAway, SlurmError
from wconv_sweep.launching.slurm.submit_limits import SubmitLimits
from wconv_sweep.pilots.command import pilot_command, write_order
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.batch import BatchJob, submit
from wconv_sweep.slurm.job import JobState, SlurmJob
from wconv_sweep.slurm.jobs import alive_jobs
from wconv_sweep.slurm.orders import next_order
from wconv_sweep.slurm.refusals import no_array, too_many


@dataclass(frozen=True)
class Submission:
    """The outcome of a top-up."""

    alive_before: int
    submitted: int
    wanted: int
    held_back: str = ""
    """SLURM's reason why there are fewer than wanted."""
    held: tuple[SlurmJob, ...] = ()
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
    folder: RunFolder,
    wanted: int,
    order: PilotOrder,
    job: BatchJob,
    there: Sequence[SlurmJob],
    limits: Callable[[], SubmitLimits],
) -> Submission:
    """Submit the missing pilots, while no other command does so.

    Args:
        folder: of the study.
        wanted: number of pilots to keep queued or running.
        order: for each array, with another first number.
        job: the same, with the order in its command.
        there: the pilots that are queued or running.
        limits: returns what the site allows just now; called if any are missing.

    Raises:
        SlurmError: the site takes none at all.
        SlurmAway: sbatch did not answer; the next call will know whether it has submitted.
    """
    before = len(there)
    known = {each.array for each in there}
    submitted, held_back = 0, ""
    allowed = limits() if before < wanted else SubmitLimits(0, None)
    room = allowed.room
    while before + submitted < wanted:
        if room == 0 and before + submitted:
            held_back = "the site allows you no more jobs in the queue"
            break
        # If not even one is allowed, the site's own message says so.
        # Where the site takes no arrays, each is a job of its own.
        largest = allowed.array or 1
        count = min(wanted - before - submitted, largest, room or largest)
        try:
            made = _submit_some(folder, order, job, count, known, arrays=allowed.array > 0)
        except SlurmAway:
            raise
        except SlurmError as error:
            if not submitted and not (before and too_many(error)):
                raise
            held_back = str(error)
            break
        submitted += made
        room = None if room is None else max(0, room - made)
    held = tuple(each for each in there if each.state is JobState.HELD)
    never_start = tuple(each for each in there if each.never_starts)
    return Submission(before, submitted, wanted, held_back, held, never_start, allowed.never_start)


def _submit_some(
    folder: RunFolder,
    order: PilotOrder,
    job: BatchJob,
    count: int,
    known: set[str],
    *,
    arrays: bool,
) -> int:
    """Submit an array of `count` pilots, or of as many as the site allows; return the number.

    Args:
        folder: of the study.
        order: of its pilots.
        job: of its pilots.
        count: of the pilots.
        known: numbers of the arrays in the queue; gets the new one.
        arrays: whether the site takes arrays.
    """
    while True:
        path, first = next_order(folder, count, job.cluster)
        write_order(order.model_copy(update={"pilot": first}), path)
        try:
            known.add(submit(replace(job, command=pilot_command(path)), count if arrays else None))
        except SlurmAway:
            # The request may have arrived although the answer did not; then the order is needed.
            arrived = {each.array for each in alive_jobs(job.name, (job.cluster,))} - known
            if not arrived:
                raise
            known |= arrived
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
