"""The commands about the machines that studies run on: `clusters`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.errors import ConfigurationError

clusters = typer.Typer(
    help="Look at the profiles of clusters, and make one of your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@clusters.callback()
def clusters_command() -> None:
    """Keep `clusters` a group of commands while it has one only."""


@clusters.command("init")
def init_command(
    name: Annotated[
        str | None,
        typer.Option(help="Of the cluster in the profile; SLURM's name for it if left out."),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="With GPUs; the one with most nodes that have any if left out."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="New file, ending in .yaml; stdout if left out.")
    ] = None,
) -> None:
    """Write a profile of the site at hand: its SLURM is asked for nodes, limits and accounts.

    Call it on a login node, look at the result, and add what SLURM does not know.

    Example: wconv-sweep clusters init --output mine.yaml
    """
    from wconv_sweep.site_profile import make_profile

    text = make_profile(
        name, partition, say=lambda warning: print(f"warning: {warning}", file=sys.stderr)
    )
    if output is None:
        print(text, end="")
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigurationError(
            f"--output {output}: exists already, and is not overwritten. Remove it, or choose "
            "another name."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"--output {output}: cannot be written: {error.strerror}"
        ) from error
    print(f"Wrote {output}. Launch with --cluster {output}")
