"""Runs SLURM's own commands: without a shell, with a time limit, always in the same words."""

import os
import shlex
import subprocess
from collections.abc import Sequence

from wconv_sweep.errors import SlurmError

TIMEOUT_S = 60.0
"""A controller that is busy answers after many seconds; one that is away, MessageTimeout, 10 s."""

# They change what the commands print or which jobs they show. SLURM_CONF says where the site is.
_CHANGES_ANSWERS = ("SACCT_", "SCONTROL_", "SINFO_", "SLURM_", "SPRIO_", "SQUEUE_")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")


def ask_slurm(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """Run a command that only asks, and return what it printed.

    Args:
        command: the program and its arguments.
        timeout_s: it is killed after this time, seconds.

    Raises:
        SlurmError: it is not installed, did not answer or failed; with its own words.
    """
    shown = shlex.join(command)
    try:
        result = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise SlurmError(
            f"{shown}: there is no such command. Call from a login node of a SLURM cluster."
        ) from error
    except OSError as error:
        raise SlurmError(f"{shown}: cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{shown} gave no answer within {timeout_s:g} s. Try again.") from error
    if result.returncode:
        words = " / ".join(line.strip() for line in result.stderr.splitlines() if line.strip())
        raise SlurmError(f"{shown} failed with exit status {result.returncode}: {words}")
    return result.stdout


def _environment() -> dict[str, str]:
    kept = {
        name: text
        for name, text in os.environ.items()
        if name in _KEPT or not name.startswith(_CHANGES_ANSWERS)
    }
    return kept | {"LC_ALL": "C"}
