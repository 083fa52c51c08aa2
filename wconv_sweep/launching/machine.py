"""How many trials fit side by side on the CPUs of this machine."""

import os
import re
from pathlib import Path

from wconv_sweep.clusters.profile import LocalProfile
from wconv_sweep.study.config import TrialShape

RANK_MB = 1024
"""Memory that a rank is counted with, MiB: twice what one of the quickstart's takes."""


def cores_of_pilot(profile: LocalProfile, root: Path = Path("/")) -> int:
    """Return the CPU cores of each pilot of a study, at least 1.

    Args:
        profile: its pilots share the machine.
        root: of the file system; for tests.
    """
    return max(1, usable_cores(root) // profile.pilots)


def lanes_of_pilot(profile: LocalProfile, trial: TrialShape, root: Path = Path("/")) -> int:
    """Return how many trials each pilot trains side by side where there is no GPU.

    As many as its cores can compute and its memory can hold, at least 1, unless the profile says.
    """
    if profile.lanes is not None:
        return profile.lanes
    by_cores = cores_of_pilot(profile, root) // (trial.ranks * trial.threads_per_rank)
    by_memory = free_memory_mb(root) // profile.pilots // (trial.ranks * RANK_MB)
    return max(1, min(by_cores, by_memory))


def usable_cores(root: Path = Path("/")) -> int:
    """Return the CPU cores that this process may keep busy, at least 1.

    A container may be allowed less than the cores that it sees: the quota of its control group
    (cgroups(7), version 2) counts, those of the groups above included.
    """
    cores = float(len(os.sched_getaffinity(0)))
    for group in _groups(root):
        try:
            quota, period = (group / "cpu.max").read_text("utf-8").split()
        except OSError:
            continue
        if quota != "max":
            cores = min(cores, int(quota) / int(period))
    return max(1, int(cores))


def free_memory_mb(root: Path = Path("/")) -> int:
    """Return the memory that new processes can take without swapping, MiB."""
    facts = (root / "proc/meminfo").read_text("utf-8")
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", facts, re.MULTILINE)
    assert found is not None
    free_mb = int(found[1]) // 1024
    for group in _groups(root):
        try:
            limit, used = (
                (group / name).read_text("utf-8").strip()
                for name in ("memory.max", "memory.current")
            )
        except OSError:
            continue
        if limit != "max":
            free = int(limit) - int(used) + _reclaimable(group)
            free_mb = min(free_mb, max(0, free) // 2**20)
    return free_mb


def _reclaimable(group: Path) -> int:
    """Return the bytes of files that a group keeps in memory until something else needs it."""
    try:
        facts = (group / "memory.stat").read_text("utf-8")
    except OSError:
        return 0
    found = re.search(r"^inactive_file (\d+)$", facts, re.MULTILINE)
    return int(found[1]) if found else 0


def _groups(root: Path) -> list[Path]:
    """Return the folders of this process's control group and of those above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return []
    top = root / "sys/fs/cgroup"
    names = [line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")]
    return [
        folder
        for name in names
        for folder in (top / name, *(top / name).parents)
        if folder.is_relative_to(top)
    ]
