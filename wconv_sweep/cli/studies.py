"""The commands about studies and data that are not launched yet: `studies` and `data`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.options import Json, Settings, Study, complete_studies

studies = typer.Typer(
    help="Look at studies before they are launched.", no_args_is_help=True, rich_markup_mode=None
)
data = typer.Typer(
    help="Look at the data of a study, and prepare them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@studies.command("list")
def list_command(as_json: Json = False) -> None:
    """List the studies that come with the program.

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


@studies.command("show")
def show_command(
    study: Annotated[
        str,
        typer.Argument(
            help="A shipped name, or a file ending in .yaml.", autocompletion=complete_studies
        ),
    ],
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Show a study: network, sites, parameters, costs, data, recipe, budget, memory per GPU.

    Example: wconv-sweep studies show dncnn_5x5
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import study as study_view
    from wconv_sweep.study.facts import study_facts
    from wconv_sweep.study.files import load_study

    facts = study_facts(load_study(study, settings=settings or ()))
    if as_json:
        console.print_json(study_view.facts_json(facts))
    else:
        study_view.print_facts(console.console(), facts)


@studies.command("check")
def check_command(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]...",
            help="Names or files; all shipped ones if left out.",
            autocompletion=complete_studies,
        ),
    ] = None,
) -> None:
    """Check studies: every key, and that their networks can be built and have sites.

    Exit status 2 if one of them is wrong; every problem is printed.

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
    """Print the JSON schema of study files, with which editors complete and check them.

    Example: wconv-sweep studies schema > study.schema.json
    """
    from wconv_sweep.study.resources import schema_file

    print(schema_file("wconv_studies").read_text("utf-8"), end="")


@data.command("check")
def check_data_command(study: Study, settings: Settings = None) -> None:
    """Read the data of a study from end to end: files, sizes, checksums.

    Example: wconv-sweep data check --study quickstart
    """
    from wconv_sweep.study.data_files import check_data
    from wconv_sweep.study.files import load_study, locate_data

    config = locate_data(load_study(study, settings=settings or ()))
    check_data(config, thorough=True)
    print(f"{config.data.name}: nothing is wrong")


@data.command("prepare")
def prepare_data_command(study: Study, settings: Settings = None) -> None:
    """Bring the data of a study into the form that training reads.

    Takes no time where they are; may be called on several nodes at once.

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


@studies.command("init")
def init_command(
    name: Annotated[str, typer.Argument(help="Of the new study: letters, digits, _ and -.")],
    folder: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Gets NAME.yaml and NAME.py.")
    ] = Path(),
) -> None:
    """Write a study of your own network, with comments, and a module to put the network in.

    Example: wconv-sweep studies init stripes
    """
    from wconv_sweep.study.template import write_study

    study, module = write_study(name, folder)
    print(f"{study}: the study; change what is marked with <--")
    print(f"{module}: the network and the data")
    print(f"Then: wconv-sweep studies check {shlex.quote(str(study))}")
