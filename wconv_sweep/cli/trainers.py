"""The command about training programs of the user's own: `trainers`."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.help_sections import CommandWithArguments
from wconv_sweep.cli.options import Settings, complete_studies

trainers = typer.Typer(
    help="Check a training program of your own.", no_args_is_help=True, rich_markup_mode=None
)


@trainers.callback()
def _group() -> None:
    """Keep `check` a command of its own, though it is the only one."""


@trainers.command("check", cls=CommandWithArguments)
def check_command(
    study: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Study with a `trainer`.", autocompletion=complete_studies
        ),
    ],
    settings: Settings = None,
) -> None:
    """Run a training program for a few steps, and say what it did.

    Whether it reports, stops, continues from its checkpoint, takes the seed, and uses the density:
    four runs of one or two steps each, on this machine. Exit status 1 if something is wrong.

    Example: wconv-sweep trainers check mine.yaml
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import doctor as doctor_view
    from wconv_sweep.doctor.checks import Mark
    from wconv_sweep.doctor.trainer_check import trainer_checks
    from wconv_sweep.study.files import load_study

    config, out, found = load_study(study, settings=settings or ()), console.console(), []
    with tempfile.TemporaryDirectory(prefix="wconv-check-") as folder:
        for check in trainer_checks(config, Path(folder).resolve()):
            found.append(check)
            doctor_view.print_check(out, check)
    doctor_view.print_sum(out, found)
    if any(check.mark is Mark.WRONG for check in found):
        raise typer.Exit(1)
