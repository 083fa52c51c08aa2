"""The orders of job arrays in a run folder: `slurm_<first>_<count>.json`, by numbers of pilots.

Where the profile names a cluster of SLURM, its name follows: `slurm_<first>_<count>_<name>.json`.
So the folder says which clusters a study has pilots on, whatever profile a command is given.
"""

import re
from pathlib import Path

from wconv_sweep.run_folder import RunFolder

_NAME = re.compile(r"slurm_(\d+)_(\d+)(?:_(.+))?\.json")


def next_order(folder: RunFolder, count: int, cluster: str | None) -> tuple[Path, int]:
    """Return where the order of the next array of so many pilots belongs, and its first number.

    No earlier pilot of the study has had the number, on whatever cluster.
    """
    ends = (int(name[1]) + int(name[2]) for name in _arrays(folder))
    first = max(ends, default=0)
    named = f"slurm_{first}_{count}" + (f"_{cluster}" if cluster else "")
    return folder.pilots / f"{named}.json", first


def clusters_of(folder: RunFolder) -> frozenset[str | None]:
    """Return the clusters that pilots of the study have been submitted to; empty if none have.

    None stands for the cluster of the machine that they were submitted from.
    """
    return frozenset(name[3] for name in _arrays(folder))


def _arrays(folder: RunFolder) -> list[re.Match[str]]:
    found = (_NAME.fullmatch(path.name) for path in folder.pilots.glob("slurm_*"))
    return [name for name in found if name]
