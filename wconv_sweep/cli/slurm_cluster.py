"""The option of commands that ask or use SLURM without a profile: which of its clusters."""

from typing import Annotated

import typer

SlurmCluster = Annotated[
    str | None,
    typer.Option(
        "--slurm-cluster",
        metavar="NAME",
        help="SLURM's own name of the cluster, where several share a login node (default: that "
        "of this machine).",
    ),
]


def cluster_of(given: str | None) -> str | None:
    """Return the name as SLURM keeps it.

    Raises:
        ConfigurationError: it is not the name of one cluster.
    """
    from wconv_sweep.slurm.words import checked_cluster

    return None if given is None else checked_cluster("--slurm-cluster", given)
