"""The command that compares studies: `report`."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wconv_sweep.cli.options import DEFAULT_RUNS, Force, MaybeStudyName, Runs, StorageUrl


def report_command(
    study: MaybeStudyName = None,
    form: Annotated[
        Literal["md", "tex", "csv"],
        typer.Option("--format", metavar="FORMAT", help="md, tex or csv."),
    ] = "md",
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            dir_okay=False,
            help="Write one page with everything, figures included.",
        ),
    ] = None,
    force: Force = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Print the paper's tables with your results beside them.

    Studies that are not in the paper follow in tables of their own. With --html, these tables and
    the details of each study go to a file that any browser shows without a network.

    Example: wconv-sweep report --html report.html
    """
    from wconv_sweep.results.output_files import write_files
    from wconv_sweep.results.report.comparison import report
    from wconv_sweep.results.report.formats import render
    from wconv_sweep.storage.open_storage import choose_url, open_storage

    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        if html is None:
            print(render(report(opened, study), form), end="")
            return
        # Imported here: matplotlib takes its time.
        from wconv_sweep.results.html.page import html_report

        page = html_report(opened, study)
    write_files({html: page.encode()}, force=force)
    print(f"written: {html}", file=sys.stderr)
