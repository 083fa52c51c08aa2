"""The command that measures a study's trials on the user's own hardware: `calibrate`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.help_sections import STUDY
from wconv_sweep.cli.options import DEFAULT_RUNS, Cluster, Json, Runs, Settings, Study
from wconv_sweep.cli.pilot_options import Wait, takes_measurement_options

if TYPE_CHECKING:
    from wconv_sweep.clusters.pilot_request import PilotRequest


@takes_measurement_options
def calibrate_command(
    study: Study,
    cluster: Cluster,
    *,
    ranks: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=STUDY,
            help="Ranks of a trial; repeatable (default: 1, 2, 4 and those of the study).",
        ),
    ] = None,
    compile_: Annotated[
        bool,
        typer.Option(
            "--compile",
            rich_help_panel=STUDY,
            help="Try compiled training steps, too; compiling takes up to some minutes each.",
        ),
    ] = False,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            rich_help_panel=STUDY,
            help="Measure every combination, not one change of the study at a time.",
        ),
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="S",
            rich_help_panel=STUDY,
            help="Training time of each measurement.",
        ),
    ] = 5.0,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=STUDY,
            help="Measurements of each combination, taking turns with all others.",
        ),
    ] = 3,
    settings: Settings = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            rich_help_panel=STUDY,
            help="Shrink the study and take synthetic data, to try the command out.",
        ),
    ] = False,
    wait_min: Wait = 60,
    request: "PilotRequest",
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Measure which shape of a trial gets most from a machine.

    Trains for some seconds each with several numbers of ranks, both orders in memory, with and
    without bfloat16, the fused optimizer on GPUs, and as many trials side by side as there is room
    for, one of these changed at a time: here, or in one short SLURM job. Prints trials per hour,
    memory, the cost of the study and lines for its file.

    Example: wconv-sweep calibrate --study quickstart --cluster local
    """
    from wconv_sweep.calibration.calibrate import Wanted, calibrate
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import calibration as calibration_view
    from wconv_sweep.clusters.profile import load_profile
    from wconv_sweep.launching.plan import SMOKE_DATA
    from wconv_sweep.study.files import load_study, locate_data

    smoke_folder = runs / SMOKE_DATA if smoke else None
    config = load_study(study, settings=settings or (), smoke_folder=smoke_folder)
    wanted = Wanted(
        ranks=ranks or (),
        compile=compile_,
        every=every,
        seconds=seconds,
        rounds=rounds,
        wait_s=60 * wait_min,
    )
    found = calibrate(
        locate_data(config),
        load_profile(cluster),
        runs,
        request,
        wanted,
        say=lambda line: print(line, file=sys.stderr),
    )
    if as_json:
        console.print_json(calibration_view.calibrated_json(found))
    else:
        calibration_view.print_calibrated(console.console(), found)
