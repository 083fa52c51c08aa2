"""The batch script of pilots, and its submission: submitit's, except for the command of a job.

A job of submitit unpickles a function, and with it the program as it was found at that moment. A
pilot runs `python -m wconv_sweep.pilots.pilot ORDER.json` with the frozen program, so nothing but
a path stands between a submission and a start days later. What submitit does here is bound to
version 1.5 by tests/slurm/test_batch.py; docs/decisions/0014 has the reasons.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from wconv_sweep.errors import ConfigurationError, SlurmError
from wconv_sweep.slurm.commands import ask_slurm, in_slurm_environment, refusal, unexpected
from wconv_sweep.slurm.refusals import with_remedy

_UNUSABLE = "%\\\n\r"
"""In a path, SLURM takes the first two for a pattern, and a comment ends with the line."""


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """The request and the command of all jobs of one submission."""

    name: str
    folder: Path
    """Gets the logs and the batch script."""
    command: str
    """What runs on each node, as shell text; the same for all elements of an array."""
    code: Path | None
    """The frozen program; None: as it is found when the job starts."""
    options: Mapping[str, str | int]
    """Options of sbatch by name, without dashes; True for one without a value."""
    walltime_min: int
    grace_s: int
    """Time from USR2 to the end."""
    cluster: str | None = None
    """SLURM's name of the cluster that gets it; None: that of this machine."""
    nodes: int = 1
    cpus: int = 0
    """Cores of each agent; 0: the site's default."""
    setup: tuple[str, ...] = ()
    """Lines of shell before everything else: the profile's own, run as they stand."""
    modules: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def batch_script(job: BatchJob, count: int | None) -> str:
    """Return the batch script of an array of `count` jobs; None: of one job without an array.

    Raises:
        ConfigurationError: SLURM cannot write to a folder of this name.
    """
    return _executor(job, count).script()


def check_submission(job: BatchJob, count: int | None) -> None:
    """Ask the site whether it would take the job of `batch_script`; submit nothing.

    Raises:
        SlurmError: it would not, with its own message.
        SlurmAway: it does not answer.
    """
    script = batch_script(job, count)
    try:
        ask_slurm(("sbatch", "--test-only"), text=script)
    except SlurmError as error:
        raise with_remedy(error) from error


def submit(job: BatchJob, count: int | None) -> str:
    """Submit the job of `batch_script` and return its number.

    Raises:
        SlurmError: the site does not take it; no file is left.
        SlurmAway: the site does not answer. It may still have taken it.
    """
    executor = _executor(job, count)
    try:
        # submitit prints the message of sbatch before it raises it.
        with in_slurm_environment(), contextlib.redirect_stderr(io.StringIO()):
            return executor.submit_command()
    except FailedJobError as error:
        raise with_remedy(refusal("sbatch", 1, str(error))) from error
    finally:
        executor.remove_unsubmitted()


class _CommandExecutor(SlurmExecutor):
    """Submits a command rather than pickled functions."""

    def __init__(self, folder: Path, command: str, cluster: str | None) -> None:
        super().__init__(folder)
        self._command = command
        self._cluster = cluster

    def script(self) -> str:
        """Return the batch script."""
        return self._make_submission_file_text(self._command, "")

    def submit_command(self) -> str:
        """Submit the job and return its number.

        Raises:
            FailedJobError: sbatch refuses it.
            SlurmError: it cannot be told from what sbatch prints whether the job was taken.
        """
        return str(self._submit_command(self._command).job_id)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        self._submitted = submission_file_path
        return super()._make_submission_command(submission_file_path)

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:  # type: ignore[override]
        """Return the number in what sbatch, or a wrapper of the site, has printed.

        With notices of the site around it, the number alone, as `sbatch --parsable`, or none at
        all: then squeue knows the job by its script.
        """
        text = string if isinstance(string, str) else string.decode(errors="replace")
        found = re.search(r"^Submitted batch job (\d+)", text, re.MULTILINE)
        found = found or re.search(r"^(\d+)(?:;\S+)?\s*$", text, re.MULTILINE)
        if found:
            return found[1]
        # A short job may have ended already.
        look = ("squeue", "--me", "--noheader", "--states=all", "--format=%F %o")
        for line in ask_slurm(look, cluster=self._cluster).splitlines():
            number, _, script = line.strip().partition(" ")
            if script.endswith(self._submitted.name):
                return number
        raise unexpected(("sbatch", self._submitted.name), text)

    def remove_unsubmitted(self) -> None:
        """Remove the leftovers of submitit: a refused script, or a link."""
        for path in self.folder.glob(".submission_file_*.sh"):
            path.unlink(missing_ok=True)

    @classmethod
    def affinity(cls) -> int:
        """Pretend that SLURM is installed: a script can be shown without it."""
        return 2


def _executor(job: BatchJob, count: int | None) -> _CommandExecutor:
    for path in (job.folder, job.code or job.folder):
        if any(character in str(path) for character in _UNUSABLE):
            raise ConfigurationError(
                f"{path}: SLURM cannot write to a folder with a %, a backslash or a line break in "
                "its name. Choose another one with --runs."
            )
    for name, text in job.options.items():
        if not str(text).isprintable():
            raise ConfigurationError(
                f"--{name} {str(text)!r}: holds a line break or the like, which no option of "
                "sbatch may. Remove it."
            )
    options = dict(job.options)
    if job.cluster is not None:
        options["clusters"] = job.cluster
    executor = _CommandExecutor(job.folder, job.command, job.cluster)
    executor.update_parameters(
        job_name=job.name,
        time=job.walltime_min,
        nodes=job.nodes,
        ntasks_per_node=1,
        cpus_per_task=job.cpus or None,
        signal_delay_s=job.grace_s,
        # If accounting enforces keys, submitit's default key does not exist.
        wckey=None,
        setup=_setup(job),
        # The agents of a pilot end one by one, and none of them may end the others. They get what
        # the script sets, also at a site whose jobs start with --export=NONE, which srun follows.
        srun_args=["--wait=0", "--kill-on-bad-exit=0", "--mpi=none", "--export=ALL"],
        additional_parameters=options,
    )
    if count is not None:
        executor.update_parameters(array_parallelism=count)
        executor.parameters["map_count"] = count
    return executor


def _setup(job: BatchJob) -> list[str]:
    lines = list(job.setup)
    lines += [f"module load {shlex.quote(module)} || exit 1" for module in job.modules]
    lines += [f"export {name}={shlex.quote(text)}" for name, text in job.environment.items()]
    # Neither the folder that the job was submitted from nor the user's own packages come first.
    lines.append("export PYTHONSAFEPATH=1")
    if job.code is not None:
        frozen = shlex.quote(str(job.code))
        lines.append(f'export PYTHONPATH={frozen}"${{PYTHONPATH:+:$PYTHONPATH}}"')
    if job.cpus:
        # Since SLURM 22.05 srun does not take the number from sbatch, and gives one core.
        lines.append(f"export SRUN_CPUS_PER_TASK={job.cpus}")
    return lines
