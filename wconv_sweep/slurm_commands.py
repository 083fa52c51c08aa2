"""Runs SLURM's commands, in an environment that holds none of the user's defaults for them.

`SBATCH_QOS`, `SQUEUE_FORMAT`, `SLURM_CLUSTERS` and their like change what these commands do, and
inside a job the variables of that job would be taken for wishes.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from wconv_sweep.errors import SlurmAway, SlurmError

TIMEOUT_S = 90.0
"""SLURM's own commands give up on a silent controller earlier: after MessageTimeout, 10 s to 60 s
on real sites."""

_COMMANDS = ("SLURM", "SBATCH", "SRUN", "SALLOC", "SQUEUE", "SACCT", "SCANCEL", "SCONTROL", "SINFO")
# Of a job that launches another one: submitit's, MPI's and torch's.
_OF_A_JOB = ("SUBMITIT_", "PMI_", "PMIX_", "PMI2_", "OMPI_", "TORCHELASTIC_")
_OF_A_RANK = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# Pilots find the URL in their order and the password in its 0600 file; SLURM would keep both.
_SECRET = ("WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE")
_KEPT = ("SLURM_CONF",)

# What SLURM says when it was not asked rather than that it does not want.
_NO_ANSWER = (
    *("Unable to contact slurm", "Socket timed out", "Connection refused", "Connection timed out"),
    *("Could not establish a configuration source", "Zero Bytes were transmitted"),
    *("Slurm temporarily unable", "slurm_persist_conn_open", "Unable to establish controller"),
    *("Transport endpoint", "Protocol authentication error", "Slurm backup controller in standby"),
    *("Problem talking to the database", "Resource temporarily unavailable"),
)


def slurm_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment without anything that changes what SLURM's commands do."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT
        or not (
            name.startswith(tuple(f"{command}_" for command in _COMMANDS))
            or name.startswith(("SLURMD_", *_OF_A_JOB))
            or name in (*_OF_A_RANK, *_SECRET)
        )
    }


@contextmanager
def in_slurm_environment() -> Iterator[None]:
    """Have this process in `slurm_environment`, for a library that starts SLURM's commands."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(slurm_environment(before))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def ask_slurm(command: Sequence[str], *, text: str | None = None) -> str:
    """Run a command of SLURM and return what it prints.

    Args:
        command: its words.
        text: for its standard input; nothing if left out.

    Raises:
        SlurmAway: it is not installed, or the daemon that it asks does not answer.
        SlurmError: the daemon says no.
    """
    try:
        ended = subprocess.run(
            command,
            env=slurm_environment(),
            input=text or "",
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise SlurmAway(
            f"{command[0]}: there is no such command here. Call wconv-sweep on a login node of "
            "the cluster, with SLURM's commands in PATH."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmAway(f"{command[0]}: no answer within {TIMEOUT_S:.0f} s.") from error
    if ended.returncode != 0:
        raise said_no(command[0], ended.stderr or ended.stdout)
    return ended.stdout


def said_no(command: str, words: str) -> SlurmError:
    """Return the error for what a command of SLURM said when it failed."""
    lines = [line.removeprefix(f"{command}: ").removeprefix("error: ") for line in _lines(words)]
    said = " / ".join(lines) or "it failed and said nothing"
    kind = SlurmAway if any(part in said for part in _NO_ANSWER) else SlurmError
    return kind(f"{command}: {said}")


def _lines(words: str) -> list[str]:
    return [line.strip() for line in words.splitlines() if line.strip()]
