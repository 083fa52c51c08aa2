"""Keys of study files and cluster profiles that had another name before.

A file with an old name is answered with the new one. A renamed key is added here, and to
`wconv_sweep.storage.stored_definitions` if it is one of a study's definition.
"""

from collections.abc import Sequence

NEW_NAMES = {
    # Study files.
    "recipe.batch": "recipe.batch_size",
    "recipe.schedule": "recipe.lr_schedule",
    "search.replicates": "search.seeds",
    "fixed": "reference_densities",
    # Cluster profiles.
    "gpus": "gpus_used_per_node",
}


def new_name(key: Sequence[object]) -> str | None:
    """Return what a key, given part by part, is called now; None if it has no other name."""
    return NEW_NAMES.get(".".join(map(str, key)))


def old_name(ending: str) -> str | None:
    """Return the key that was called so, or whose name ended so; None if there was none."""
    return next((old for old in NEW_NAMES if f".{old}".endswith(f".{ending}")), None)
