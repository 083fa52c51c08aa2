"""What a launcher would start."""

from dataclasses import dataclass

from wconv_sweep.clusters.billing import Cost


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a launcher would start; nothing of it has been done."""

    summary: str
    """Pilots and what each holds, in words."""
    pilots: int
    command: str
    """Of each pilot's agent, as shell text."""
    script: str | None = None
    """The batch script, on a SLURM cluster."""
    cost: Cost | None = None
    """The most that the pilots can cost, on a SLURM cluster."""
