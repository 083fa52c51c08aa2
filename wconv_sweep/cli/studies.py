"""The commands about studies and data that are not launched yet: `studies` and `data`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.help_sections import CommandWithArguments
from wconv_sweep.cli.options import (
    DEFAULT_RUNS,
    Json,
    Runs,
    Settings,
    StorageUrl,
    Study,
    complete_studies,
)

studies = typer.Typer(
    help="List, show, check and create study files.", no_args_is_help=True, rich_markup_mode=None
)
data = typer.Typer(
    help="Check and prepare the data of a study.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@studies.command("list")
def list_command(as_json: Json = False) -> None:
    """List the shipped studies.

    Example: wconv-sweep studies list
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import study as study_view
    from wconv_sweep.study.facts import shipped_studies

    configs = shipped_studies()
    if as_json:
        console.print_json([config.plain() for config in configs])
    else:
        study_view.print_studies(console.console(), configs)


@studies.command("show", cls=CommandWithArguments)
def show_command(
    study: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A shipped study, or a file ending in .yaml.",
            autocompletion=complete_studies,
        ),
    ],
    settings: Settings = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show a study: network, costs, data, recipe, budget, memory.

    The GPU-hours are those that trials of this network and recipe have used, as the storage knows
    them.

    Example: wconv-sweep studies show dncnn_5x5
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import study as study_view
    from wconv_sweep.errors import StorageError
    from wconv_sweep.evidence.expected_cost import read_expected_cost
    from wconv_sweep.storage.open_storage import choose_url
    from wconv_sweep.study.facts import study_facts
    from wconv_sweep.study.files import load_study, locate_where_known, study_options

    config = load_study(study, settings=settings or ())
    facts, expected, problem = study_facts(config), None, None
    try:
        url = choose_url(storage, runs)
        expected = read_expected_cost(locate_where_known(config), url, runs=runs)
    except StorageError as error:
        # The study is shown in any case.
        problem = str(error)
    if as_json:
        console.print_json(study_view.facts_json(facts, expected))
    else:
        named = study_options(study, settings or ())
        cost = study_view.cost_text(named, config.trial, expected, problem, facts.costs)
        study_view.print_facts(console.console(), facts, cost)


@studies.command("check", cls=CommandWithArguments)
def check_command(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Shipped studies, or files ending in .yaml (default: all shipped studies).",
            autocompletion=complete_studies,
        ),
    ] = None,
) -> None:
    """Check study files: every key, and that the network builds.

    Prints every problem. Exit status 2 if there is one.

    Example: wconv-sweep studies check mine.yaml
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import study as study_view
    from wconv_sweep.errors import ConfigurationError
    from wconv_sweep.study.facts import check_studies

    right, problems = check_studies(wanted or ())
    study_view.print_checked(console.console(), right)
    if problems:
        raise ConfigurationError(problems)


@studies.command("schema")
def schema_command() -> None:
    """Print the JSON schema of study files, for editors.

    Example: wconv-sweep studies schema > study.schema.json
    """
    from wconv_sweep.study.resources import schema_file

    print(schema_file("wconv_studies").read_text("utf-8"), end="")


@data.command("check")
def check_data_command(study: Study, settings: Settings = None) -> None:
    """Read all data of a study: files, sizes, checksums.

    Example: wconv-sweep data check --study quickstart
    """
    from wconv_sweep.study.data_files import check_data
    from wconv_sweep.study.files import load_study, locate_data

    config = locate_data(load_study(study, settings=settings or ()))
    check_data(config, thorough=True)
    print(f"{config.data.name}: OK")


@data.command("prepare")
def prepare_data_command(study: Study, settings: Settings = None) -> None:
    """Convert the data of a study to the form that training reads.

    Returns at once if that is done already; may be called on several nodes at once.

    Example: wconv-sweep data prepare --study quickstart
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import study as study_view
    from wconv_sweep.study.data_files import prepare_data
    from wconv_sweep.study.files import load_study, locate_data

    config = locate_data(load_study(study, settings=settings or ()))
    with study_view.preparing(console.console(), config.data.name) as show:
        prepare_data(config, show)
    print(f"{config.data.name}: ready")


@studies.command("init", cls=CommandWithArguments)
def init_command(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the new study: letters, digits, _ and -."),
    ],
    folder: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Folder for NAME.yaml and NAME.py.",
        ),
    ] = Path(),
    program: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Training program of your own, for which only NAME.yaml is written.",
        ),
    ] = None,
) -> None:
    """Write the study of a network or a program of your own.

    Example: wconv-sweep studies init stripes
    """
    from wconv_sweep.study.template import LINES_TO_ADD, write_program_study, write_study

    if program is not None:
        study = write_program_study(name, program, folder)
        print(f"{study}: the study; change what is marked with <--")
        print(f"Add to {program}, where they belong:\n\n{LINES_TO_ADD}")
        print(f"Then: wconv-sweep studies check {shlex.quote(str(study))}")
        return
    study, module = write_study(name, folder)
    print(f"{study}: the study; change what is marked with <--")
    print(f"{module}: the network and the data")
    print(f"Then: wconv-sweep studies check {shlex.quote(str(study))}")
