"""The preview of a launcher."""

from dataclasses import dataclass

from wconv_sweep.clusters.billing import Cost


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The processes or jobs that a launcher would start."""

    summary: str
    """Summary of the pilots and of what each holds."""
    pilots: int
    command: str
    """Of each pilot's agent, as shell text."""
    script: str | None = None
    """The batch script, on a SLURM cluster."""
    cost: Cost | None = None
    """The maximum cost of the pilots, on a SLURM cluster."""
