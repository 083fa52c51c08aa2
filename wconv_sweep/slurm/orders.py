"""The orders of job arrays in a run folder: `slurm_<first>_<count>.json`, by numbers of pilots."""

import re
from pathlib import Path

from wconv_sweep.run_folder import RunFolder

_NAME = re.compile(r"slurm_(\d+)_(\d+)\.json")


def next_order(folder: RunFolder, count: int) -> tuple[Path, int]:
    """Return where the order of the next array of so many pilots belongs, and its first number.

    No earlier pilot of the study has had the number.
    """
    first = max((first + count for first, count in _arrays(folder)), default=0)
    return folder.pilots / f"slurm_{first}_{count}.json", first


def has_been_in_slurm(folder: RunFolder) -> bool:
    """Return whether pilots of the study have been submitted."""
    return bool(_arrays(folder))


def _arrays(folder: RunFolder) -> list[tuple[int, int]]:
    found = [_NAME.fullmatch(path.name) for path in folder.pilots.glob("slurm_*")]
    return [(int(name[1]), int(name[2])) for name in found if name]
