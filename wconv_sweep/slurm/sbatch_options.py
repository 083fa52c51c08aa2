"""Options of sbatch that a user adds: all that sbatch has, except those that the program sets.

An unknown option is passed on, since sbatch knows best which ones it has. sbatch also takes the
beginning of a name for the whole one, `--arr` for `--array`: what begins the name of an option of
the program is refused like the option itself.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,49}")
_LONGEST = 1000
# What a URL with a password and the assignment of a secret look like.
_SECRET = re.compile(
    r"://[^/@\s]*:[^/@\s]+@|(?:password|passwd|secret|token|_key)\s*[=:]", re.IGNORECASE
)
# What to do instead, and the options that it is about.
_OWN: dict[str, tuple[str, ...]] = {
    "Use --account, or account in the profile": ("account",),
    "Use --partition, or partition.default in the profile": ("partition",),
    "Use --qos, or qos.default in the profile": ("qos",),
    "Use --time, or walltime_min in the profile": ("time",),
    "Use --nodes, or nodes in the profile": ("nodes",),
    "Use --pilots, or pilots in the profile": ("array",),
    "Use gpus_used_per_node, gpu_type and gpu_flag in the profile": (
        *("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"),
        "tres-per-task",
    ),
    "Use cpus_per_gpu and cpus_per_node in the profile": ("cpus-per-gpu", "cpus-per-task"),
    "Use mem_per_gpu_mb or whole_nodes in the profile": ("mem", "mem-per-cpu", "mem-per-gpu"),
    "Use whole_nodes in the profile": ("exclusive", "oversubscribe", "share"),
    "Use requeue in the profile": ("requeue", "no-requeue"),
    "Use grace_s in the profile": ("signal",),
    "Use env in the profile": ("export", "export-file"),
    "Logs are in the run folder: use --runs": ("output", "error", "open-mode"),
    "Leave it out: each node runs one agent, which starts the ranks": (
        *("ntasks", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node"),
        "ntasks-per-socket",
    ),
    "Leave it out: jobs are found again by their names": ("job-name",),
    "Leave it out: jobs find their files from any folder": ("chdir",),
    "Leave it out, and launch once the other job has ended": ("dependency",),
    "Use slurm_cluster in the profile": ("cluster", "clusters"),
    "Leave it out: jobs are submitted as the user that you are": ("gid", "uid"),
    "Leave it out: it is about the call of sbatch, not about the job": (
        *("help", "parsable", "quiet", "test-only", "usage", "verbose", "version", "wait"),
        *("wrap",),
    ),
}
# On the command line they go before the key, as no other option does.
_KEYS: dict[str, tuple[str, ...]] = {
    f"Use {key} in the profile": (key,) for key in ("constraint", "hint", "wckey")
}


def parse_option(text: str) -> tuple[str, str | Literal[True]]:
    """Return the option in `KEY=VALUE`; one without a value, `KEY`, is True."""
    name, equals, value = text.partition("=")
    return name, value if equals else True


def shown_option(name: str, value: object) -> str:
    """Return an option in the form of `parse_option`."""
    return name if value is True else f"{name}={value}"


def option_problems(options: Mapping[str, str | int], free: Collection[str] = ()) -> Sequence[str]:
    """Return what is wrong with options of the command line, one line for each of them.

    Args:
        options: by name. An empty value takes away what the profile has.
        free: those that the program leaves to the user for jobs of this kind.
    """
    problems = []
    for name, value in options.items():
        try:
            if name not in free:
                _check_name(name, _OWN)
            if value != "":
                _checked_value(value)
        except ValueError as error:
            # Not the value, which may be a secret.
            problems.append(f"--sbatch {name}: {error}.")
    return problems


def batch_options(options: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the options for a batch script: without those that an empty value takes away."""
    return {name: value for name, value in options.items() if value != ""}


def _check_name(name: str, own: Mapping[str, Sequence[str]]) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "is not the long name of an option of sbatch. Write it with small letters and dashes, "
            "and none in front, as in mail-user"
        )
    for remedy, taken in own.items():
        for option in taken:
            if option == name:
                raise ValueError(f"is set by wconv-sweep. {remedy}")
    begun = next(
        (option for taken in own.values() for option in taken if option.startswith(name)), ""
    )
    if begun:
        raise ValueError(
            f"sbatch takes it for {begun}, which is set by wconv-sweep. Write whole names"
        )


def _checked_name(name: str) -> str:
    _check_name(name, _OWN | _KEYS)
    return name


def _checked_value(value: Any) -> Any:
    if value is True or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(
            "takes a text, an integer, or true for an option without a value; write a date or "
            "a decimal number in quotes"
        )
    if not value.isprintable() or "\\" in value:
        raise ValueError("must not hold a line break, a control character or a backslash")
    if len(value) > _LONGEST:
        raise ValueError(f"must not be longer than {_LONGEST} characters")
    if _SECRET.search(value):
        # Of this kind, the value is not shown.
        raise PydanticCustomError(
            "secret", "looks like a secret, and anyone can read a batch script; leave it out"
        )
    return value


SbatchName = Annotated[str, AfterValidator(_checked_name)]
"""Long name of an option of sbatch that neither the program nor a key of a profile sets."""
SbatchValue = Annotated[str | int | Literal[True], BeforeValidator(_checked_value)]
"""Value of an option of sbatch; True for one without a value."""
