"""Runs SLURM's own commands: without a shell, with a time limit, with the same arguments.

`SBATCH_QOS`, `SQUEUE_FORMAT`, `SLURM_CLUSTERS` and their like change what these commands do, and
inside a job the variables of that job would act as options: none of them is passed on. Some of the
commands would follow SLURM_CLUSTERS, and sacct and sacctmgr not; `cluster` holds for all.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from wconv_sweep.errors import SlurmAway, SlurmError

TIMEOUT_S = 60.0
"""A controller that is busy answers after many seconds; one that is away, MessageTimeout, 10 s."""

# SLURM_CONF says where the site is.
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
_OF_SLURM = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SACCT_", "SCANCEL_"),
    *("SCONTROL_", "SINFO_", "SPRIO_"),
)
CHOSEN_BY_VARIABLE = "SLURM_CLUSTERS"
"""Of the user's shell, often set by a module; a profile has `slurm_cluster` instead."""
# Of a job that launches another one: submitit's, MPI's and torch's.
_OF_A_JOB = (
    *("SUBMITIT_", "PMI_", "PMIX_", "PMI2_", "OMPI_", "TORCHELASTIC_", "MASTER_ADDR"),
    *("MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
)
# Pilots find the URL in their order and the password in its 0600 file; SLURM would keep both.
_SECRET = ("WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE")

# Messages of an unreachable SLURM, as opposed to a refusal.
_NO_ANSWER = (
    *("Unable to contact slurm", "Socket timed out", "Connection refused", "Connection timed out"),
    *("Could not establish a configuration source", "Zero Bytes were transmitted"),
    *("Slurm temporarily unable", "slurm_persist_conn_open", "Unable to establish controller"),
    *("Transport endpoint", "Slurm backup controller in standby", "can't be reached now"),
    *("Problem talking to the database", "problem talking to the database"),
    "Resource temporarily unavailable",
)
_NO_SUCH_CLUSTER = "known by database"


def ask_slurm(
    command: Sequence[str],
    timeout_s: float = TIMEOUT_S,
    *,
    text: str | None = None,
    cluster: str | None = None,
) -> str:
    """Run a command and return its output.

    Args:
        command: the program and its arguments.
        timeout_s: it is killed after this time, seconds.
        text: for its standard input, which is empty if left out.
        cluster: SLURM's name of the one to ask; None: that of this machine. Not for sacctmgr.

    Raises:
        SlurmAway: a daemon did not answer.
        SlurmError: the command is not installed or failed; with its own message.
    """
    if cluster is not None:
        command = (command[0], f"--clusters={cluster}", *command[1:])
    shown = shlex.join(command)
    try:
        result = subprocess.run(
            command,
            # Without the second, lists of array elements are cut at 64 characters.
            env=slurm_environment() | {"LC_ALL": "C", "SLURM_BITSTR_LEN": "0"},
            input=text or "",
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
        raise SlurmError(
            f"{shown}: cannot be started: {error.strerror}. Check this program."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmAway(f"{shown} gave no answer within {timeout_s:g} s. Try again.") from error
    if result.returncode:
        raise refusal(shown, result.returncode, result.stderr or result.stdout)
    return result.stdout


def ask_side_by_side(
    commands: Sequence[Sequence[str]], *, cluster: str | None = None
) -> list[str]:
    """Run commands at the same time, as each mostly waits for a daemon; return their outputs.

    Args:
        commands: see `ask_slurm`.
        cluster: the same for all of them.

    Raises:
        SlurmAway: a daemon did not answer.
        SlurmError: the first of the commands that failed, in their order.
    """
    with ThreadPoolExecutor(len(commands)) as threads:
        asked = [threads.submit(ask_slurm, command, cluster=cluster) for command in commands]
        return [answer.result() for answer in asked]


def refusal(shown: str, status: int, said: str) -> SlurmError:
    """Return the error for a failed command, with its message."""
    words = " / ".join(line.strip() for line in said.splitlines() if line.strip())
    text = f"{shown} failed with exit status {status}: {words}"
    if _NO_SUCH_CLUSTER in words:
        return SlurmError(
            f"{text.rstrip('.')}. Change slurm_cluster in the profile, or --slurm-cluster, to one "
            "that `sacctmgr show clusters` lists. If a cluster with pilots of a study is gone, "
            "remove pilots/slurm_*_NAME.json, with its name, from the study's run folder."
        )
    if any(part in words for part in _NO_ANSWER):
        return SlurmAway(f"{text.rstrip('.')}. SLURM does not answer; try again once it does.")
    return SlurmError(text)


def local_cluster() -> str:
    """Return SLURM's name of the cluster of this machine.

    Raises:
        SlurmAway: the controller does not answer.
        SlurmError: this is no SLURM cluster.
    """
    command = ("scontrol", "show", "config")
    text = ask_slurm(command)
    found = re.search(r"^ClusterName\s*=\s*(\S+)", text, re.MULTILINE)
    if found is None:
        raise unexpected(command, text)
    return found[1].lower()


def unexpected(command: Sequence[str], text: str) -> SlurmError:
    """Return the error for an answer that is none of SLURM's."""
    line = (text.strip().splitlines() or ["nothing"])[0][:200]
    return SlurmError(
        f"{shlex.join(command)} printed {line!r}, which SLURM itself does not print. Look for an "
        "alias or a wrapper of this site, and put the folder of SLURM's own programs first in "
        "PATH."
    )


def slurm_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment without anything that changes what SLURM's commands do."""
    return {
        name: text
        for name, text in environment.items()
        if name in _KEPT or not (name.startswith((*_OF_SLURM, *_OF_A_JOB)) or name in _SECRET)
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
