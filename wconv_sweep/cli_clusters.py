"""The commands about the machines that studies run on: `clusters`."""

from typing import Annotated

import typer

from wconv_sweep.cli_options import Json

clusters = typer.Typer(
    help="Look at the profiles of clusters, and make one of your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@clusters.command("list")
def list_command(as_json: Json = False) -> None:
    """List the profiles that come with the program, and your own.

    Exit status 2 if one of your own is wrong; the others are listed all the same.

    Example: wconv-sweep clusters list
    """
    from wconv_sweep import cluster_view, console
    from wconv_sweep.cluster_catalogue import known_profiles
    from wconv_sweep.errors import ConfigurationError

    known, problems = known_profiles()
    if as_json:
        console.print_json([cluster_view.entry_json(each) for each in known])
    else:
        cluster_view.print_profiles(console.console(), known)
    if problems:
        raise ConfigurationError(problems)


@clusters.command("show")
def show_command(
    cluster: Annotated[str, typer.Argument(help="A name, or a file ending in .yaml.")],
    as_json: Json = False,
) -> None:
    """Show a profile: every fact about the site, and where it comes from.

    Example: wconv-sweep clusters show leonardo
    """
    from wconv_sweep import cluster_view, console
    from wconv_sweep.cluster_catalogue import find_profile

    found = find_profile(cluster)
    if as_json:
        console.print_json(cluster_view.facts_json(found))
    else:
        cluster_view.print_facts(console.console(), found)
