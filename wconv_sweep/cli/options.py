"""Options that several commands of the command line share."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.completion import (
    complete_clusters,
    complete_launched,
    complete_studies,
)
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import DEFAULT_RUNS

__all__ = [
    "DEFAULT_RUNS",
    "Cluster",
    "Force",
    "Json",
    "MaybeStudyName",
    "Runs",
    "Settings",
    "StorageUrl",
    "Study",
    "StudyName",
    "complete_clusters",
    "complete_launched",
    "complete_studies",
    "minutes_of",
    "next_command",
]

Study = Annotated[
    str,
    typer.Option(
        help="A shipped study by name, or a file ending in .yaml.", autocompletion=complete_studies
    ),
]
StudyName = Annotated[
    str,
    typer.Option(help="Name of a study that was launched.", autocompletion=complete_launched),
]
MaybeStudyName = Annotated[
    str | None,
    typer.Option(
        "--study",
        help="Name of one study; all of the storage if left out.",
        autocompletion=complete_launched,
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        help="A cluster profile by name, or a file ending in .yaml.",
        autocompletion=complete_clusters,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the study, e.g. epochs=1 or recipe.optimizer.lr=0.01; repeatable.",
    ),
]
StorageUrl = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Database URL: sqlite:////PATH or postgresql://USER@HOST/DATABASE, without a "
        "password. If left out: WCONV_SWEEP_STORAGE, OPTUNA_STORAGE, the cluster profile, "
        "the server of `db start --job`, then sweep.db in the folder of all runs.",
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder of all runs: checkpoints, logs, the database.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def minutes_of(option: str, text: str) -> int:
    """Return a time limit as SLURM writes it in whole minutes, rounded up as SLURM does.

    Raises:
        ConfigurationError: it is none.
    """
    from wconv_sweep.slurm.values import seconds

    try:
        limit_s = seconds(text)
    except ValueError:
        limit_s = None
    if not limit_s:
        raise ConfigurationError(
            f"{option} {text}: is no time limit. Write minutes, HOURS:MINUTES:SECONDS or "
            "DAYS-HOURS:MINUTES:SECONDS, e.g. 24:00:00."
        )
    return -(-limit_s // 60)


def next_command(verb: str, storage: str | None, runs: Path, study: str | None) -> str:
    """Return the command for the same storage and study, to be copied."""
    words = [_program(), verb]
    words += ["--study", study] if study else []
    words += ["--storage", storage] if storage else []
    words += ["--runs", str(runs)] if runs != DEFAULT_RUNS else []
    return shlex.join(words)


def _program() -> str:
    """Return how this command was called, or its bare name where that finds it."""
    found = shutil.which("wconv-sweep")
    called = sys.argv[0]
    by_path = "/" in called and Path(called).name == "wconv-sweep"
    if not by_path or (found and Path(found).samefile(called)):
        return "wconv-sweep"
    return called
