"""The commands that start and stop a study: `launch`, `resume` and `stop`."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.help_sections import OUTPUT, PILOTS, STUDY
from wconv_sweep.cli.options import (
    DEFAULT_RUNS,
    Arms,
    Cluster,
    Json,
    Runs,
    Settings,
    StorageUrl,
    Study,
    StudyName,
    complete_clusters,
    next_command,
)
from wconv_sweep.cli.pilot_options import SLURM, takes_pilot_options
from wconv_sweep.errors import ConfigurationError

if TYPE_CHECKING:
    from wconv_sweep.clusters.pilot_request import PilotRequest
    from wconv_sweep.launching.plan import Plan
    from wconv_sweep.launching.start import Launched

# Commands import their use case themselves: --help must answer at once.

EXIT_INTERRUPTED = 130

MaybeCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        rich_help_panel=PILOTS,
        help="A cluster profile, or a file ending in .yaml (default: that of the last launch).",
        autocompletion=complete_clusters,
    ),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        rich_help_panel=STUDY,
        help="Continue although the program or the data have changed since the first launch.",
    ),
]
Follow = Annotated[
    bool | None,
    typer.Option(
        "--follow/--detach",
        rich_help_panel=OUTPUT,
        help="Show the progress until the study has ended, or return once its pilots have "
        "started (default: follow on this machine, detach on a SLURM cluster).",
        show_default=False,
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        rich_help_panel=OUTPUT,
        help="Command to run when the study ends, when its circuit breaker stops it, and when "
        "its GPU-hours are used up. Later launches keep it; '' removes it.",
    ),
]


@takes_pilot_options
def launch_command(
    study: Study,
    cluster: Cluster,
    *,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=OUTPUT, help="Show what would be done, and do nothing."
        ),
    ] = False,
    request: "PilotRequest",
    max_gpu_hours: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="HOURS",
            rich_help_panel=STUDY,
            help="Cap on GPU-hours (budget.gpu_hours); may be raised later, not lowered.",
        ),
    ] = None,
    settings: Settings = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            rich_help_panel=STUDY,
            help="Shrink the study to a minute or two on synthetic data, to try it out.",
        ),
    ] = False,
    arms: Arms = None,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            rich_help_panel=STUDY,
            help="Also train plain convolution with only the initial weights of the confirmed "
            "density, and with only its gradient.",
        ),
    ] = False,
    notify: Notify = None,
    accept_changes: AcceptChanges = False,
    follow: Follow = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Run a study to its result.

    Stores its budget and starts its pilots: processes on this machine, which it follows, or SLURM
    jobs, which run on their own. Launching a study again continues it: nothing is trained twice,
    and only missing pilots are started.

    Example: wconv-sweep launch --cluster local --study quickstart
    """
    from wconv_sweep.clusters.profile import load_profile
    from wconv_sweep.launching.plan import plan_launch
    from wconv_sweep.launching.start import launch
    from wconv_sweep.pilots.notification import checked_command
    from wconv_sweep.storage.open_storage import choose_url

    notify_with = None if notify is None else checked_command(notify)
    changes = list(settings or ())
    if max_gpu_hours is not None:
        changes.append(f"budget.gpu_hours={max_gpu_hours!r}")
    if arms is not None:
        changes.append(f"search.arms={arms}")
    url = choose_url(storage, runs, profile=load_profile(cluster).storage)
    plan = plan_launch(
        study,
        cluster,
        url,
        runs,
        settings=changes,
        smoke=smoke,
        ablate=ablate,
        request=request,
        dry_run=dry_run,
    )
    for warning in plan.warnings:
        print(f"wconv-sweep: warning: {warning}", file=sys.stderr)
    if dry_run:
        _show_plan(plan, runs, as_json=as_json)
        return
    launched = launch(plan, accept_changes=accept_changes, notify_with=notify_with)
    _show(launched, storage, runs, follow=follow, as_json=as_json)


@takes_pilot_options
def resume_command(
    study: StudyName,
    cluster: MaybeCluster = None,
    *,
    request: "PilotRequest",
    notify: Notify = None,
    accept_changes: AcceptChanges = False,
    follow: Follow = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Continue a study that was stopped or interrupted.

    Options that are left out keep their values of the last launch.

    Example: wconv-sweep resume --study quickstart
    """
    from wconv_sweep.launching.start import resume
    from wconv_sweep.pilots.notification import checked_command
    from wconv_sweep.storage.open_storage import choose_url

    launched = resume(
        study,
        cluster,
        choose_url(storage, runs),
        accept_changes=accept_changes,
        notify_with=None if notify is None else checked_command(notify),
        request=request,
    )
    _show(launched, storage, runs, follow=follow, as_json=as_json)


def stop_command(
    study: StudyName,
    now: Annotated[
        bool,
        typer.Option("--now", help=f"{SLURM}: also cancel the study's running and queued jobs."),
    ] = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Stop a study at the next checkpoints.

    Running trials end there, and no other starts.

    Example: wconv-sweep stop --study quickstart
    """
    from wconv_sweep.launching.stopping import stop
    from wconv_sweep.storage.open_storage import choose_url, open_storage

    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        stopped = stop(opened, study, now=now)
    for line in stopped.lines():
        print(line)
    if not stopped.ended:
        print(f"Resume with: {next_command('resume', storage, runs, study)}")


def _show_plan(plan: "Plan", runs: Path, *, as_json: bool) -> None:
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views.plan import plan_json, print_plan
    from wconv_sweep.launching.plan import changes_since, cost_ahead
    from wconv_sweep.study.cost_range import cost_range

    changes, expected, costs = changes_since(plan), cost_ahead(plan, runs), cost_range(plan.config)
    if as_json:
        console.print_json(plan_json(plan, changes, expected, costs))
    else:
        print_plan(console.console(), plan, changes, expected, costs)
    if plan.problems:
        raise ConfigurationError(plan.problems)


def _show(
    launched: "Launched",
    storage: str | None,
    runs: Path,
    *,
    follow: bool | None,
    as_json: bool,
) -> None:
    from rich.console import Console

    from wconv_sweep.cli import console
    from wconv_sweep.evidence.study_status import read_status

    study, pilots = launched.study, launched.pilots
    out = Console(stderr=True, highlight=False) if as_json else console.console()
    goes_on = pilots is not None and pilots.goes_on
    commands = [next_command(verb, storage, runs, study) for verb in ("status", "stop", "export")]
    waits = [launched.waits] if launched.waits else []
    for line in [*waits, *pilots.notes()] if pilots else ():
        out.print(f"{study}: {line}", markup=False, soft_wrap=True)
    if not (not goes_on if follow is None else follow):
        if as_json:
            from wconv_sweep.cli.views.status import status_json

            console.print_json(status_json(read_status(launched.storage, study)))
            return
        if pilots is None:
            complete = read_status(launched.storage, study).complete
            what = "nothing left to do" if complete else "the GPU-hours are used up"
            out.print(f"{study}: {what}.", markup=False, soft_wrap=True)
        out.print(f"Show progress: {commands[0]}", markup=False, soft_wrap=True)
        if goes_on:
            out.print(f"Stop it:       {commands[1]}", markup=False, soft_wrap=True)
        return
    from wconv_sweep.cli.progress import progress
    from wconv_sweep.cli.views.status import status_json
    from wconv_sweep.launching.follow_study import follow as follow_study
    from wconv_sweep.launching.follow_study import stop_and_wait

    resume = next_command("resume", storage, runs, study)
    with progress(out) as show:
        try:
            status = follow_study(launched, show)
        except KeyboardInterrupt:
            if goes_on:
                out.print("The study keeps running. Show progress: " + commands[0], markup=False)
                raise typer.Exit(EXIT_INTERRUPTED) from None
            out.print(
                "Stopping: the running trial ends at its next checkpoint (Ctrl-C: leave now)."
            )
            with contextlib.suppress(KeyboardInterrupt):
                stop_and_wait(launched, show)
            out.print(f"Resume with: {resume}", markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        console.print_json(status_json(status))
    elif status.result is None or not status.complete:
        out.print(f"Stopped. Resume with: {resume}", markup=False, soft_wrap=True)
    else:
        nexts = [commands[0], commands[2], next_command("dashboard", storage, runs, None)]
        console.print_result(out, status, nexts)
