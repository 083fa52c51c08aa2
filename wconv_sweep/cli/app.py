"""The command line: reads options, calls a use case, turns errors into lines and an exit status.

Exit status: 0 done, 1 the sweep failed, 2 wrong usage or configuration, 130 interrupted.
"""

import contextlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from wconv_sweep.cli import clusters as cli_clusters
from wconv_sweep.cli import db as cli_db
from wconv_sweep.cli import doctor as cli_doctor
from wconv_sweep.cli import launch as cli_launch
from wconv_sweep.cli import logs as cli_logs
from wconv_sweep.cli import simulate as cli_simulate
from wconv_sweep.cli import studies as cli_catalogue
from wconv_sweep.cli.options import (
    DEFAULT_RUNS,
    Json,
    Runs,
    StorageUrl,
    StudyName,
    complete_launched,
    next_command,
)
from wconv_sweep.errors import ConfigurationError, WconvSweepError

# Commands import their use case themselves: --help and status must answer at once, and launch
# needs Optuna and submitit.

app = typer.Typer(
    name="wconv-sweep",
    help="Find the density of a network's weighted convolutions, and whether the gain is real.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(cli_catalogue.studies, name="studies")
# The singular is what one types for `study init mine`.
app.add_typer(cli_catalogue.studies, name="study", hidden=True)
app.add_typer(cli_catalogue.data, name="data")
app.add_typer(cli_clusters.clusters, name="clusters")
app.add_typer(cli_db.db, name="db")
app.command("launch")(cli_launch.launch_command)
app.command("resume")(cli_launch.resume_command)
app.command("stop")(cli_launch.stop_command)
app.command("doctor")(cli_doctor.doctor_command)
app.command("logs")(cli_logs.logs_command)

MaybeStudyName = Annotated[
    str | None,
    typer.Option(
        "--study",
        help="Name of one study; all of the storage if left out.",
        autocompletion=complete_launched,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("wconv-sweep"))
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@app.command("status")
def status_command(
    study: MaybeStudyName = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show what is going on.

    Example: wconv-sweep status --study quickstart
    """
    from wconv_sweep.cli import console
    from wconv_sweep.evidence.status import read_status, study_jobs, study_names
    from wconv_sweep.storage.storage import choose_url, open_storage

    opened = open_storage(choose_url(storage, runs))
    statuses = [read_status(opened, name) for name in ([study] if study else study_names(opened))]
    opened.close()
    jobs = [study_jobs(status) for status in statuses]
    if as_json:
        both = zip(statuses, jobs, strict=True)
        console.print_json([console.status_json(status, of_it) for status, of_it in both])
    else:
        console.print_status(console.console(), statuses, jobs)


@app.command("retry")
def retry_command(
    study: StudyName,
    trials: Annotated[
        list[int] | None, typer.Argument(metavar="TRIAL...", help="Numbers of trials.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All trials that failed.")] = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Give failed trials another round of attempts.

    They keep their numbers and their checkpoints, and wait for `wconv-sweep resume`.

    Example: wconv-sweep retry --study quickstart --failed
    """
    from wconv_sweep.cli import console
    from wconv_sweep.slots.retry import retry
    from wconv_sweep.storage.storage import choose_url, open_storage

    if bool(trials) == failed:
        raise ConfigurationError(
            "retry: takes either the numbers of trials or --failed. "
            f"`wconv-sweep status --study {study}` shows what failed."
        )
    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        retried = retry(opened, study, trials or None)
    if as_json:
        console.print_json([console.retried_json(each) for each in retried])
        return
    for each in retried:
        print(console.retried_line(each))
    if retried:
        print(f"Go on with: {next_command('resume', storage, runs, study)}")
    else:
        print(f"{study}: no trial has failed, so nothing was changed.")


app.command("simulate")(cli_simulate.simulate_command)


@app.command("export")
def export_command(
    study: MaybeStudyName = None,
    form: Annotated[
        Literal["yaml", "json"], typer.Option("--format", help="How to print it.")
    ] = "yaml",
    plots: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for pictures of each study, PNG and SVG."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Folder for the trained network of each study, folded."
        ),
    ] = None,
    force: Force = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Print the best density per architecture.

    Plain convolution stands beside it.

    Example: wconv-sweep export > densities.yaml
    """
    from wconv_sweep.results.export import export, render, with_result
    from wconv_sweep.storage.storage import choose_url, open_storage

    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        text = render(export(opened, study), form)
        for status in with_result(opened, study) if plots or weights else []:
            # Imported here: matplotlib and torch take their time.
            from wconv_sweep.results.export_plots import plot_files
            from wconv_sweep.results.export_weights import weight_files
            from wconv_sweep.results.output_files import write_files

            files = plot_files(opened, status, plots) if plots else {}
            files |= weight_files(opened, status, weights) if weights else {}
            write_files(files, force=force)
            for path in files:
                print(f"written: {path}", file=sys.stderr)
    print(text, end="")


@app.command("report")
def report_command(
    study: MaybeStudyName = None,
    form: Annotated[
        Literal["md", "tex", "csv"], typer.Option("--format", help="How to print it.")
    ] = "md",
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Print the tables of the paper, ours beside its values.

    Studies that it does not have follow in tables of their own.

    Example: wconv-sweep report --format tex > tables.tex
    """
    from wconv_sweep.cli.report_formats import render
    from wconv_sweep.results.report import report
    from wconv_sweep.storage.storage import choose_url, open_storage

    opened = open_storage(choose_url(storage, runs))
    print(render(report(opened, study), form), end="")
    opened.close()


@app.command("dashboard")
def dashboard_command(
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="TCP port; if left out, 8080 or a free one where that is taken."
        ),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only/--writable",
            help="Refuse every change; writable, the page can write notes, and delete studies.",
        ),
    ] = True,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Serve the Optuna dashboard until Ctrl-C.

    It listens on this machine alone; the ssh line that it prints brings it to yours.

    Example: wconv-sweep dashboard
    """
    from wconv_sweep.results.dashboard import serve, tunnel
    from wconv_sweep.storage.storage import choose_url, open_storage

    def show(page: str) -> None:
        print(f"Optuna dashboard: {page} (Ctrl-C ends it)")
        print(f"From another machine: {tunnel(page)}", flush=True)

    opened = open_storage(choose_url(storage, runs))
    try:
        serve(opened, port, show, read_only=read_only)
    except KeyboardInterrupt:
        print()
    finally:
        opened.close()


def main() -> None:
    """Run the command line; only here are errors printed as lines."""
    try:
        app()
    except WconvSweepError as error:
        from wconv_sweep.cli.console import print_error

        print_error(str(error))
        sys.exit(error.exit_status)
