"""The preview of a launcher."""

from dataclasses import dataclass

from wconv_sweep.clusters.billing import Cost
from wconv_sweep.pilots.machine import Room


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The processes or jobs that a launcher would start."""

    summary: str
    """Summary of the pilots and of what each holds."""
    pilots: int
    at_once: int | None
    """Trials that a pilot trains side by side; None: it cannot hold any."""
    threads_per_rank: int | None
    """CPU threads of each of their ranks, no more than there are cores for."""
    room: Room | None = None
    """What `at_once` follows from, where that is the cores and the memory of this machine."""
    command: str
    """Of each pilot's agent, as shell text."""
    script: str | None = None
    """The batch script, on a SLURM cluster."""
    cost: Cost | None = None
    """The maximum cost of the pilots, on a SLURM cluster."""
