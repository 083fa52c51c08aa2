"""The command that checks everything a study needs: `doctor`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.help_sections import PILOTS, STUDY
from wconv_sweep.cli.options import DEFAULT_RUNS, Cluster, Json, Runs, StorageUrl, complete_studies
from wconv_sweep.cli.pilot_options import Wait, takes_pilot_options

if TYPE_CHECKING:
    from wconv_sweep.clusters.pilot_request import PilotRequest


@takes_pilot_options
def doctor_command(
    cluster: Cluster = "local",
    *,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=STUDY,
            help="A shipped study, or a file ending in .yaml.",
            autocompletion=complete_studies,
        ),
    ] = None,
    job: Annotated[
        bool,
        typer.Option(
            "--job",
            rich_help_panel=PILOTS,
            help="Also check from a compute node, with a one-minute test job.",
        ),
    ] = False,
    wait_min: Wait = 15,
    request: "PilotRequest",
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Check what a study needs and say how to fix what is missing.

    Exit status 1 if something is wrong. Changes nothing.

    Example: wconv-sweep doctor --cluster local --study quickstart
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import doctor as doctor_view
    from wconv_sweep.clusters.profile import load_profile
    from wconv_sweep.doctor.checks import Mark
    from wconv_sweep.doctor.examination import examination
    from wconv_sweep.storage.open_storage import choose_url
    from wconv_sweep.study.files import load_study

    profile = load_profile(cluster)
    config = load_study(study) if study is not None else None
    if storage is not None:
        choose_url(storage, runs)  # wrong usage, not a failed check
    checks = examination(
        profile,
        config,
        runs,
        lambda: choose_url(storage, runs, profile=profile.storage),
        request,
        job_wait_s=60 * wait_min if job else None,
        say=lambda line: print(line, file=sys.stderr),
    )
    found = []
    out = console.console()
    for area, check in checks:
        found.append((area, check))
        if not as_json:
            doctor_view.print_check(out, check)
    if as_json:
        console.print_json([doctor_view.check_json(area, check) for area, check in found])
    else:
        doctor_view.print_sum(out, [check for _, check in found])
    if any(check.mark is Mark.WRONG for _, check in found):
        raise typer.Exit(1)
