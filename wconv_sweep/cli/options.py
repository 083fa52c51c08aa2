"""Options that several commands of the command line share."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wconv_sweep.cli.completion import (
    complete_clusters,
    complete_launched,
    complete_studies,
)
from wconv_sweep.cli.help_sections import OUTPUT, PILOTS, STORAGE, STUDY
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import DEFAULT_RUNS

__all__ = [
    "DEFAULT_RUNS",
    "Arms",
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
        metavar="NAME",
        rich_help_panel=STUDY,
        help="A shipped study, or a file ending in .yaml.",
        autocompletion=complete_studies,
    ),
]
StudyName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=STUDY,
        help="A study that was launched.",
        autocompletion=complete_launched,
    ),
]
MaybeStudyName = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="NAME",
        rich_help_panel=STUDY,
        help="One study (default: all studies of the storage).",
        autocompletion=complete_launched,
    ),
]
Arms = Annotated[
    Literal["both", "weighted"] | None,
    typer.Option(
        metavar="ARMS",
        rich_help_panel=STUDY,
        help="With search.also, tune plain and weighted convolution (both, the default), or "
        "weighted alone, and then no gain is claimed (search.arms).",
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=PILOTS,
        help="A cluster profile, or a file ending in .yaml.",
        autocompletion=complete_clusters,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        rich_help_panel=STUDY,
        help="Change a key of the study, e.g. epochs=1 or recipe.optimizer.lr=0.01; repeatable.",
    ),
]
StorageUrl = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        rich_help_panel=STORAGE,
        help="Database: sqlite:////PATH or postgresql://USER@HOST/DATABASE, without a password "
        "(default: the first of WCONV_SWEEP_STORAGE, OPTUNA_STORAGE, the cluster profile, the "
        "server of `db start --job`, sweep.db in --runs).",
    ),
]
Runs = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        rich_help_panel=STORAGE,
        help="Folder of all runs: checkpoints, logs, the database.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
Json = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON for scripts.")
]


def minutes_of(option: str, text: str) -> int:
    """Return a time limit of SLURM's form in whole minutes, rounded up as SLURM does.

    Raises:
        ConfigurationError: it is not a time limit.
    """
    from wconv_sweep.slurm.values import seconds

    try:
        limit_s = seconds(text)
    except ValueError:
        limit_s = None
    if not limit_s:
        raise ConfigurationError(
            f"{option} {text}: is not a valid time limit. Write minutes, HOURS:MINUTES:SECONDS or "
            "DAYS-HOURS:MINUTES:SECONDS, e.g. 24:00:00."
        )
    return -(-limit_s // 60)


def next_command(verb: str, storage: str | None, runs: Path, study: str | None) -> str:
    """Return the command for the same storage and study, for the user to copy."""
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
