"""What the shell offers for a word that is being typed: names of files, nothing slower.

Neither a database nor the content of a file is looked at: the shell waits for the answer.
"""

from pathlib import Path

import typer

from wconv_sweep.run_folder import DEFAULT_RUNS


def complete_studies(incomplete: str) -> list[str]:
    """Return the names of shipped studies, and the YAML files of the folder being typed."""
    from wconv_sweep.study.resources import shipped

    return _fitting([*shipped("wconv_studies"), *_files(incomplete)], incomplete)


def complete_clusters(incomplete: str) -> list[str]:
    """Return the names of profiles, shipped and the user's own, and the YAML files."""
    from wconv_sweep.clusters.profile import PACKAGE, own_folder
    from wconv_sweep.study.resources import files_in, shipped

    names = sorted(shipped(PACKAGE).keys() | files_in(own_folder()).keys())
    return _fitting([*names, *_files(incomplete)], incomplete)


def complete_launched(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the studies that have a folder in the folder of all runs."""
    from wconv_sweep.run_folder import studies_in

    return _fitting(studies_in(Path(ctx.params.get("runs") or DEFAULT_RUNS)), incomplete)


def _files(incomplete: str) -> list[str]:
    folder = incomplete.rpartition("/")[0]
    start = f"{folder}/" if "/" in incomplete else ""
    return [f"{start}{path.name}" for path in sorted(Path(start or ".").glob("*.yaml"))]


def _fitting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
