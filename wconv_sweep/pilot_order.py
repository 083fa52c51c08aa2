"""What a pilot is told when it starts."""

from pathlib import Path

from pydantic import Field

from wconv_jobs.spec import Spec


class PilotOrder(Spec):
    """What a pilot is told when it starts; a file, so that nothing secret stands in argv."""

    study: str
    storage: str
    """URL; never with a password."""
    run_folder: Path = Field(strict=False)
    pilot: int
    """Number of the pilot within the study, from 0."""
    gpus: int
    """GPUs that the pilot holds; 0 trains on the CPU."""
    lease_s: float
    grace_s: float
    walltime_s: float
    """Time from the pilot's start to its end."""
