"""The commands about the machines that studies run on: `clusters`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.help_sections import CommandWithArguments
from wconv_sweep.cli.options import Json, complete_clusters
from wconv_sweep.cli.slurm_cluster import SlurmCluster, cluster_of
from wconv_sweep.errors import ConfigurationError

clusters = typer.Typer(
    help="Show cluster profiles, and create one for your site.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@clusters.command("list")
def list_command(as_json: Json = False) -> None:
    """List the shipped profiles and your own.

    Exit status 2 if one of your own is invalid; the others are still listed.

    Example: wconv-sweep clusters list
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import cluster as cluster_view
    from wconv_sweep.clusters.known_profiles import known_profiles

    known, problems = known_profiles()
    if as_json:
        console.print_json([cluster_view.entry_json(each) for each in known])
    else:
        cluster_view.print_profiles(console.console(), known)
    if problems:
        raise ConfigurationError(problems)


@clusters.command("show", cls=CommandWithArguments)
def show_command(
    cluster: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A cluster profile, or a file ending in .yaml.",
            autocompletion=complete_clusters,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show every fact about a site, and its source.

    Example: wconv-sweep clusters show leonardo
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import cluster as cluster_view
    from wconv_sweep.clusters.known_profiles import find_profile

    found = find_profile(cluster)
    if as_json:
        console.print_json(cluster_view.facts_json(found))
    else:
        cluster_view.print_facts(console.console(), found)


@clusters.command("schema")
def schema_command() -> None:
    """Print the JSON schema of cluster profiles, for editors.

    Example: wconv-sweep clusters schema > cluster.schema.json
    """
    from wconv_sweep.clusters.profile import PACKAGE
    from wconv_sweep.study.resources import schema_file

    print(schema_file(PACKAGE).read_text("utf-8"), end="")


@clusters.command("init")
def init_command(
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the cluster (default: the name SLURM has for it)."
        ),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Partition with GPUs (default: the one with the most GPU nodes).",
        ),
    ] = None,
    slurm_cluster: SlurmCluster = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="New file, ending in .yaml (default: stdout)."),
    ] = None,
) -> None:
    """Write a profile of this site from what SLURM reports.

    Call it on a login node, read the result, and add what SLURM does not know.

    Example: wconv-sweep clusters init --output mine.yaml
    """
    from wconv_sweep.clusters.site_profile import make_profile
    from wconv_sweep.slurm.clusters import not_followed

    def warn(warning: str) -> None:
        print(f"warning: {warning}", file=sys.stderr)

    chosen = cluster_of(slurm_cluster)
    advice = not_followed(chosen)
    if advice:
        warn(f"{advice}. Choose one with --slurm-cluster.")
    text = make_profile(name, partition, warn, slurm_cluster=chosen)
    if output is None:
        print(text, end="")
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigurationError(
            f"--output {output}: already exists and is not overwritten. Remove it, or choose "
            "another name."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"--output {output}: cannot be written: {error.strerror}. Choose another file."
        ) from error
    print(f"Wrote {output}. Launch with --cluster {output}")
