"""How many trials fit side by side on the CPUs of this machine."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.clusters.profile import LocalProfile
from wconv_sweep.log import event
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.study.config import TrialShape

logger = logging.getLogger(__name__)

RANK_MB = 1024
"""Memory that a rank is counted with, MiB: twice what one of the quickstart's takes."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Room for trials of a shape, side by side."""

    cores: int
    by_cores: int
    """Trials that the cores can compute."""
    by_memory: int
    """Trials that free memory can hold, with `RANK_MB` for each rank."""

    @property
    def lanes(self) -> int:
        """The smaller number of trials, at least 1."""
        return max(1, min(self.by_cores, self.by_memory))


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
    return room_of_pilot(profile, trial, root).lanes


def room_of_pilot(profile: LocalProfile, trial: TrialShape, root: Path = Path("/")) -> Room:
    """Return the same as numbers, whatever the profile says."""
    free_mb = free_memory_mb(root) // profile.pilots
    return room_for(trial.ranks, trial.threads_per_rank, cores_of_pilot(profile, root), free_mb)


def room_for(ranks: int, threads_per_rank: int, cores: int, free_mb: int) -> Room:
    """Return the room that cores and free memory, MiB, give to trials."""
    return Room(
        cores=cores,
        by_cores=cores // (ranks * threads_per_rank),
        by_memory=free_mb // (ranks * RANK_MB),
    )


def within_memory(order: PilotOrder, trial: TrialShape, root: Path = Path("/")) -> PilotOrder:
    """Return a pilot's order with no more lanes than its job has memory for, at least 1.

    A launch counts the memory of its own machine, but knows nothing of that of a job's node.

    Args:
        order: of the pilot.
        trial: the shape of each trial.
        root: of the file system; for tests.
    """
    if order.launcher == "local" or order.gpus_used_per_node:
        return order
    lanes = max(1, min(order.lanes, free_memory_mb(root) // (trial.ranks * RANK_MB)))
    if lanes < order.lanes:
        logger.info(event("cores for more trials than memory", lanes=lanes, cores=order.lanes))
    return order.model_copy(update={"lanes": lanes})


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


def free_memory_mb(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """Return the memory that new processes can take without swapping, MiB.

    In a SLURM job, no more than SLURM gives it on this node: it may end a job that takes more
    also where it keeps no control group for it.
    """
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
    return min([free_mb, *_memory_of_job_mb(environment)])


def _memory_of_job_mb(environment: Mapping[str, str]) -> list[int]:
    """Return the memory that SLURM gives a job on a node, MiB; nothing where that is all of it."""
    names = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE")
    node_mb, cpu_mb, cpus = (int(environment.get(name) or 0) for name in names)
    return [given for given in (node_mb, cpu_mb * cpus) if given]


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
