"""The command that exports results: `export`."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wconv_sweep.cli.options import DEFAULT_RUNS, Force, MaybeStudyName, Runs, StorageUrl


def export_command(
    study: MaybeStudyName = None,
    form: Annotated[
        Literal["yaml", "json", "csv", "md", "tex"],
        typer.Option("--format", metavar="FORMAT", help="yaml, json (complete), csv, md or tex."),
    ] = "yaml",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="File to write (default: stdout)."),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Folder for figures of each study, PNG and SVG."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Folder for the trained network of each study, with its density folded in.",
        ),
    ] = None,
    force: Force = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Print the best density per architecture.

    The result of plain convolution stands beside it.

    Example: wconv-sweep export --output densities.yaml
    """
    from wconv_sweep.results.export.entries import export, render, with_result
    from wconv_sweep.results.output_files import write_files
    from wconv_sweep.storage.open_storage import choose_url, open_storage

    files: dict[Path, bytes] = {}
    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        text = render(export(opened, study), form)
        if output is not None:
            files[output] = text.encode()
        for status in with_result(opened, study) if plots or weights else []:
            # Imported here: matplotlib and torch take their time.
            from wconv_sweep.results.export.figures import plot_files
            from wconv_sweep.results.export.weights import weight_files

            files |= plot_files(opened, status, plots) if plots else {}
            files |= weight_files(opened, status, weights) if weights else {}
    write_files(files, force=force)
    for path in files:
        print(f"written: {path}", file=sys.stderr)
    if output is None:
        print(text, end="")
