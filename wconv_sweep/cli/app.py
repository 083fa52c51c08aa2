"""The command line: reads options, calls a use case, turns errors into lines and an exit status.

Exit status: 0 done, 1 the sweep failed, 2 wrong usage or configuration, 130 interrupted.
"""

import contextlib
import errno
import os
import sys
from typing import Annotated

import typer

from wconv_sweep.cli import calibrate as cli_calibrate
from wconv_sweep.cli import clusters as cli_clusters
from wconv_sweep.cli import db as cli_db
from wconv_sweep.cli import doctor as cli_doctor
from wconv_sweep.cli import export as cli_export
from wconv_sweep.cli import launch as cli_launch
from wconv_sweep.cli import logs as cli_logs
from wconv_sweep.cli import report as cli_report
from wconv_sweep.cli import simulate as cli_simulate
from wconv_sweep.cli import status as cli_status
from wconv_sweep.cli import studies as cli_catalog
from wconv_sweep.cli import trainers as cli_trainers
from wconv_sweep.cli.help_sections import CommandWithArguments, CommandWithPanels
from wconv_sweep.cli.options import (
    DEFAULT_RUNS,
    Json,
    Runs,
    StorageUrl,
    StudyName,
    next_command,
)
from wconv_sweep.errors import ConfigurationError, WconvSweepError

# Commands import their use case themselves: --help and status must answer at once, and launch
# needs Optuna and submitit.

# A disk on which no room, or no quota, is left.
_FULL = (errno.ENOSPC, errno.EDQUOT)

app = typer.Typer(
    name="wconv-sweep",
    help="Find the density of a network's weighted convolutions and test whether it helps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(cli_catalog.studies, name="studies")
# The singular is what one types for `study init mine`.
app.add_typer(cli_catalog.studies, name="study", hidden=True)
app.add_typer(cli_catalog.data, name="data")
app.add_typer(cli_trainers.trainers, name="trainers")
app.add_typer(cli_clusters.clusters, name="clusters")
app.add_typer(cli_db.db, name="db")
app.command("launch", cls=CommandWithPanels)(cli_launch.launch_command)
app.command("resume", cls=CommandWithPanels)(cli_launch.resume_command)
app.command("stop")(cli_launch.stop_command)
app.command("status")(cli_status.status_command)
app.command("doctor", cls=CommandWithPanels)(cli_doctor.doctor_command)
app.command("logs", cls=CommandWithArguments)(cli_logs.logs_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

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


@app.command("retry", cls=CommandWithArguments)
def retry_command(
    study: StudyName,
    trials: Annotated[
        list[int] | None,
        typer.Argument(metavar="TRIAL", help="Numbers of trials, as status shows them."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All trials that failed.")] = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Retry failed trials.

    They keep their numbers and their checkpoints, and wait for `wconv-sweep resume`.

    Example: wconv-sweep retry --study quickstart --failed
    """
    from wconv_sweep.cli import console
    from wconv_sweep.slots.retry import retry
    from wconv_sweep.storage.open_storage import choose_url, open_storage

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
        print(f"Resume with: {next_command('resume', storage, runs, study)}")
    else:
        print(f"{study}: no trial has failed, so nothing was changed.")


app.command("simulate")(cli_simulate.simulate_command)
app.command("calibrate", cls=CommandWithPanels)(cli_calibrate.calibrate_command)


app.command("export")(cli_export.export_command)
app.command("report")(cli_report.report_command)


@app.command("dashboard")
def dashboard_command(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="N",
            help="TCP port (default: 8080, or a free one if that is taken).",
        ),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only/--writable",
            help="Whether the page may write notes and delete studies.",
        ),
    ] = True,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Serve the Optuna dashboard until Ctrl-C.

    It listens only on this machine; it prints the ssh command that opens it on yours.

    Example: wconv-sweep dashboard
    """
    from wconv_sweep.results.dashboard import serve, tunnel
    from wconv_sweep.storage.open_storage import choose_url, open_storage

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
        try:
            app()
        finally:
            # Here and not at the interpreter's end, where it could only be complained of.
            if sys.stdout is not None:
                sys.stdout.flush()
    except WconvSweepError as error:
        from wconv_sweep.cli.console import print_error

        print_error(str(error))
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # The reader of the output, `head` or a pager, has enough; that is not an error.
        _drop_output()
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        from wconv_sweep.cli.console import print_error

        _drop_output()
        # Writing, other than opening, does not name the file.
        print_error(
            f"{error.filename or 'the output or a file'}: cannot be written: {error.strerror}. "
            "Free disk space, or write elsewhere; the files written so far are incomplete."
        )
        sys.exit(ConfigurationError.exit_status)


def _drop_output() -> None:
    # What is left of it has no place; the interpreter would try once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
