"""The order that a pilot gets at its start."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from wconv_jobs.spec_base import Spec


class PilotOrder(Spec):
    """The order of a pilot, read from a file, so that argv holds no secret.

    The pilots of a job array share one order: see `wconv_sweep.pilots.place`.
    """

    study: str
    storage: str
    """URL; never with a password."""
    run_folder: Path = Field(strict=False)
    launcher: Literal["local", "slurm"] = "local"
    """The kind of pilot: a process of this machine, or a job."""
    slurm_cluster: str | None = None
    """SLURM's name of the pilot's cluster, where the profile names one."""
    pilot: Annotated[int, Field(ge=0)]
    """Number of the pilot within the study, from 0; of a job array, of its element 0."""
    nodes: Annotated[int, Field(ge=1)] = 1
    """Nodes of the pilot, with an agent on each."""
    gpus_used_per_node: Annotated[int, Field(ge=0)]
    """GPUs that the pilot uses on each node; 0 trains on the CPU."""
    gpus_held_per_node: Annotated[int, Field(ge=0)]
    """GPUs of each node that nobody else gets meanwhile: at least those that it uses."""
    lanes: Annotated[int, Field(ge=1)] = 1
    """Trials that are trained side by side on a node without GPUs; with them, their number and
    `trial` of the study tell."""
    cpus: Annotated[int, Field(ge=0)] = 0
    """CPU cores that the pilot holds on each node; 0: not known."""
    requeue: bool = False
    """Whether a job whose time is up goes back into the queue while there is work."""
    lease_s: FiniteFloat
    grace_s: FiniteFloat
    walltime_s: FiniteFloat
    """Time from the pilot's start to its end, unless SLURM knows the end better."""
