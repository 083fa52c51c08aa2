"""The command line: reads options, calls a use case, turns errors into lines and an exit status.

Exit status: 0 done, 1 the sweep failed, 2 wrong usage or configuration, 130 interrupted.
"""

import contextlib
import shlex
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wconv_sweep import cli_catalogue, cli_db, cli_logs
from wconv_sweep.cli_options import DEFAULT_RUNS, Json, Runs, Settings, StorageUrl, Study
from wconv_sweep.errors import ConfigurationError, WconvSweepError

if TYPE_CHECKING:
    from wconv_sweep.launch import Launched

# Commands import their use case themselves: --help and status must answer at once, and launch
# needs Optuna and submitit.

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="wconv-sweep",
    help="Find the density of a network's weighted convolutions, and whether the gain is real.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(cli_catalogue.studies, name="studies")
app.add_typer(cli_catalogue.data, name="data")
app.add_typer(cli_db.db, name="db")
app.command("logs")(cli_logs.logs_command)

StudyName = Annotated[str, typer.Option(help="Name of a study that was launched.")]
MaybeStudyName = Annotated[
    str | None, typer.Option("--study", help="Name of one study; all of the storage if left out.")
]
Cluster = Annotated[
    str, typer.Option(help="A shipped cluster profile by name, or a file ending in .yaml.")
]
MaybeCluster = Annotated[
    str | None,
    typer.Option("--cluster", help="As for launch; without it, that of the last launch."),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        help="Go on although the program or the data have changed since the study was begun.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return once the pilots have been started.")
]


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


@app.command("launch")
def launch_command(
    study: Study,
    cluster: Cluster,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    settings: Settings = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Shrink the study to a minute or two on made-up data, to try it out."
        ),
    ] = False,
    accept_changes: AcceptChanges = False,
    detach: Detach = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Run a study to its result.

    Writes its budget, starts its pilots and follows them. Launching a study again continues it:
    nothing is trained twice.

    Example: wconv-sweep launch --cluster local --study quickstart
    """
    from wconv_sweep import console
    from wconv_sweep.cluster_profile import load_profile
    from wconv_sweep.launch import launch, plan_launch
    from wconv_sweep.storage import choose_url

    url = choose_url(storage, runs, profile=load_profile(cluster).storage)
    plan = plan_launch(study, cluster, url, runs, settings=settings or (), smoke=smoke)
    for warning in plan.warnings:
        print(f"wconv-sweep: warning: {warning}", file=sys.stderr)
    if dry_run:
        if as_json:
            console.print_json(console.plan_json(plan))
        else:
            console.print_plan(console.console(), plan)
        return
    _follow(
        launch(plan, accept_changes=accept_changes), storage, runs, detach=detach, as_json=as_json
    )


@app.command("resume")
def resume_command(
    study: StudyName,
    cluster: MaybeCluster = None,
    accept_changes: AcceptChanges = False,
    detach: Detach = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Go on with a study that was stopped, interrupted or broken.

    Example: wconv-sweep resume --study quickstart
    """
    from wconv_sweep.launch import resume
    from wconv_sweep.storage import choose_url

    url = choose_url(storage, runs)
    launched = resume(study, cluster, url, accept_changes=accept_changes)
    _follow(launched, storage, runs, detach=detach, as_json=as_json)


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
    from wconv_sweep import console
    from wconv_sweep.status import read_status, study_names
    from wconv_sweep.storage import choose_url, open_storage

    opened = open_storage(choose_url(storage, runs))
    statuses = [read_status(opened, name) for name in ([study] if study else study_names(opened))]
    opened.close()
    if as_json:
        console.print_json([console.status_json(status) for status in statuses])
    else:
        console.print_status(console.console(), statuses)


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
    from wconv_sweep import console
    from wconv_sweep.retry import retry
    from wconv_sweep.storage import choose_url, open_storage

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
        print(f"Go on with: {_command('resume', storage, runs, study)}")
    else:
        print(f"{study}: no trial has failed, so nothing was changed.")


@app.command("stop")
def stop_command(study: StudyName, storage: StorageUrl = None, runs: Runs = DEFAULT_RUNS) -> None:
    """Stop a study at the next checkpoints.

    Running trials end there, and no other is begun.

    Example: wconv-sweep stop --study quickstart
    """
    from wconv_sweep.storage import choose_url, open_storage
    from wconv_sweep.studies import stop

    opened = open_storage(choose_url(storage, runs))
    stop(opened, study)
    opened.close()
    print(
        f"{study}: running trials end at their next checkpoint. "
        f"Go on with: {_command('resume', storage, runs, study)}"
    )


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
    from wconv_sweep.export import export, render, with_result
    from wconv_sweep.storage import choose_url, open_storage

    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        text = render(export(opened, study), form)
        for status in with_result(opened, study) if plots or weights else []:
            # Imported here: matplotlib and torch take their time.
            from wconv_sweep.export_plots import plot_files
            from wconv_sweep.export_weights import weight_files
            from wconv_sweep.output_files import write_files

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
    from wconv_sweep.report import report
    from wconv_sweep.report_formats import render
    from wconv_sweep.storage import choose_url, open_storage

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
    from wconv_sweep.dashboard import serve, tunnel
    from wconv_sweep.storage import choose_url, open_storage

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


def _follow(
    launched: "Launched", storage: str | None, runs: Path, *, detach: bool, as_json: bool
) -> None:
    from rich.console import Console

    from wconv_sweep import console
    from wconv_sweep.launch import follow, stop_and_wait
    from wconv_sweep.status import read_status

    study = launched.study
    out = Console(stderr=True, highlight=False) if as_json else console.console()
    if detach:
        status = read_status(launched.storage, study)
        if as_json:
            console.print_json(console.status_json(status))
            return
        started = len(launched.pilots.started)
        what = "nothing left to do" if status.complete else f"{started} pilot(s) started"
        out.print(
            f"{study}: {what}. Look at it with: {_command('status', storage, runs, study)}",
            markup=False,
            soft_wrap=True,
        )
        return
    resume = _command("resume", storage, runs, study)
    with console.progress(out) as show:
        try:
            status = follow(launched, show)
        except KeyboardInterrupt:
            out.print(
                "Stopping: the running trial ends at its next checkpoint (Ctrl-C: leave now)."
            )
            with contextlib.suppress(KeyboardInterrupt):
                stop_and_wait(launched, show)
            out.print(f"Go on with: {resume}", markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        console.print_json(console.status_json(status))
    elif status.result is None or not status.complete:
        out.print(f"Stopped. Go on with: {resume}", markup=False, soft_wrap=True)
    else:
        commands = [_command(name, storage, runs, study) for name in ("status", "export")]
        console.print_result(out, status, [*commands, _command("dashboard", storage, runs, None)])


def _command(verb: str, storage: str | None, runs: Path, study: str | None) -> str:
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
    if Path(called).name != "wconv-sweep" or (found and Path(found).samefile(called)):
        return "wconv-sweep"
    return called


def main() -> None:
    """Run the command line; only here are errors printed as lines."""
    try:
        app()
    except WconvSweepError as error:
        from wconv_sweep.console import print_error

        print_error(str(error))
        sys.exit(error.exit_status)
