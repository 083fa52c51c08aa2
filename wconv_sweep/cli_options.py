"""Options that several commands of the command line share."""

from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.run_folder import DEFAULT_RUNS

__all__ = ["DEFAULT_RUNS", "Json", "Runs", "Settings", "StorageUrl", "Study"]

Study = Annotated[str, typer.Option(help="A shipped study by name, or a file ending in .yaml.")]
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
        "password. If left out: WCONV_SWEEP_STORAGE, OPTUNA_STORAGE, the cluster profile, then "
        "sweep.db in the folder of all runs.",
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder of all runs: checkpoints, logs, the database.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
