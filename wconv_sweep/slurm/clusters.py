"""The clusters of SLURM that a study has pilots on, where several share a login node.

Each is asked by itself, by its name, or as that of this machine without one. The number of a job
is unique on its cluster only.
"""

import contextlib
import os
from collections.abc import Collection, Mapping

from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm.commands import CHOSEN_BY_VARIABLE, local_cluster

Clusters = Collection[str | None]
"""Names of clusters; None: that of this machine."""
HERE: Clusters = (None,)


def to_ask(clusters: Clusters) -> list[str | None]:
    """Return the clusters, each once: that of this machine may also be there by its name."""
    names = sorted(name for name in clusters if name is not None)
    if None not in clusters:
        return [*names]
    # Where it does not say its name, it will not answer the question either.
    if names and _here() in names:
        return [*names]
    return [None, *names]


def not_followed(chosen: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return that a variable of the user's names another cluster than is chosen, if it does.

    Args:
        chosen: name of a cluster; None: that of this machine, which is asked for its name.
        environment: of the user's shell.
    """
    name = environment.get(CHOSEN_BY_VARIABLE, "").strip()
    if not name or name.lower() == (chosen or _here()):
        return None
    return f"{CHOSEN_BY_VARIABLE} is {name}, which is not followed: jobs go to " + (
        f"cluster {chosen}" if chosen else "the cluster of this machine"
    )


def _here() -> str | None:
    """Return the name of the cluster of this machine; None if it does not say."""
    with contextlib.suppress(SlurmError):
        return local_cluster()
    return None
