"""Texts of a profile in a batch script: the allowed characters, so that none is a command.

A batch script is a program of the shell. Names are written into it quoted, and beyond that they
must not hold a character with a meaning for the shell, sbatch or a path.
"""

import re
import shlex
from typing import Annotated

from pydantic import AfterValidator

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.text_patterns import Matches

ALL_CLUSTERS = "all"
"""What SLURM takes for every cluster at once."""
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}"
_NAMES = f"{_NAME}(?:,{_NAME}){{0,49}}"
_SUFFIX = r"[A-Za-z0-9_.@+-]{1,50}"
_CONSTRAINT = r"[A-Za-z0-9_(\[][A-Za-z0-9_.:,+*&|()\[\]-]{0,199}"
_MODULE = r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,199}"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_WORD = re.compile(r"(?:[A-Za-z0-9_@%+=:,./~-]|\$[A-Za-z_]\w*|\$\{[A-Za-z_]\w*\})+")
_SETUP_COMMANDS = ("module", "source", "ulimit", "umask")

# The batch script sets the first two itself; the others are SLURM's, or decide what Python runs.
_OWN_VARIABLES = ("PYTHONSAFEPATH", "PYTHONPATH", "PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES")
_OWN_PREFIXES = ("SLURM_", "SBATCH_", "SRUN_", "WCONV_SWEEP_")
_SECRET = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|_KEY$", re.IGNORECASE)


def is_slurm_name(text: str) -> bool:
    """Return whether a text can be the name of a QOS or account."""
    return re.fullmatch(_NAME, text) is not None


def are_slurm_names(text: str) -> bool:
    """Return whether a text can be the name of a partition, or several with commas between."""
    return re.fullmatch(_NAMES, text) is not None


def checked_cluster(origin: str, name: str) -> str:
    """Return the name of one cluster, in lower case, as SLURM keeps them.

    Args:
        origin: the option or key that it comes from.
        name: as the user writes it.

    Raises:
        ConfigurationError: it is not a name, or stands for several.
    """
    if not is_slurm_name(name) or name.lower() == ALL_CLUSTERS:
        raise ConfigurationError(
            f"{origin} {name}: is not the name of one cluster. Use one that `sacctmgr show "
            "clusters` lists."
        )
    return name.lower()


def setup_line(command: str) -> str:
    """Return a command of a profile as a line of shell that runs only this command.

    Variables are expanded inside quotes; nothing else of the shell's has a meaning.

    Raises:
        ValueError: it is not one of the commands that a profile may run, or holds more than words.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"is not a command: {error}") from error
    if not words or words[0] not in _SETUP_COMMANDS:
        raise ValueError(
            f"takes only the commands {', '.join(_SETUP_COMMANDS)}; put everything else into a "
            "script of your own and source it"
        )
    wrong = next((word for word in words if not _WORD.fullmatch(word)), None)
    if wrong is not None:
        raise ValueError(
            f"'{wrong}' holds characters that the shell would take for its own; put the command "
            "into a script of your own and source it"
        )
    return " ".join(f'"{word}"' if "$" in word else shlex.quote(word) for word in words)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"'{name}' is not a variable name: only letters, digits and _")
    if name in _OWN_VARIABLES or name.startswith(_OWN_PREFIXES):
        raise ValueError(f"'{name}' is set by the batch script or by SLURM; leave it out")
    if _SECRET.search(name):
        raise ValueError(
            f"'{name}' looks like a secret, and anyone can read a batch script; passwords of "
            "databases belong in ~/.pgpass"
        )
    return name


def _value(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold a line break or a control character")
    return text


def _setup(command: str) -> str:
    setup_line(command)
    return command


def _cluster(name: str) -> str:
    if name.lower() == ALL_CLUSTERS:
        raise ValueError("stands for every cluster at once; name one of them")
    return name.lower()


SlurmName = Annotated[
    str, Matches(_NAME, "may contain only letters, digits and _ . @ + -, at most 100")
]
"""Of a partition, QOS, account or kind of GPU."""
SlurmNames = Annotated[
    str,
    Matches(
        _NAMES,
        "may contain only letters, digits and _ . @ + -, at most 100, and commas between names",
    ),
]
"""Of one partition or several."""
ClusterName = Annotated[SlurmName, AfterValidator(_cluster)]
"""Of one cluster, in lower case, as SLURM keeps them."""
AccountSuffix = Annotated[
    str, Matches(_SUFFIX, "may contain only letters, digits and _ . @ + -, at most 50")
]
Constraint = Annotated[
    str, Matches(_CONSTRAINT, "may contain only names of features, joined by & | , and brackets")
]
ModuleName = Annotated[
    str, Matches(_MODULE, "may contain only letters, digits and _ . + / -, as in cuda/12.2")
]
VariableName = Annotated[str, AfterValidator(_variable)]
VariableValue = Annotated[str, AfterValidator(_value)]
SetupCommand = Annotated[str, AfterValidator(_setup)]
