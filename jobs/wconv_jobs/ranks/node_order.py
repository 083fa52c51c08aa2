"""The order of a node for its part of a trial's ranks, passed on to each of these ranks.

Importing this module does not import torch.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, FiniteFloat

from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.spec import TrialSpec
from wconv_jobs.spec_base import Spec


class NodeOrder(Spec):
    """One node's part of the ranks of a trial."""

    trial: TrialSpec | ProgramTrial
    ranks: Annotated[int, Field(ge=1)]
    """Number of ranks on all nodes together."""
    ranks_here: Annotated[int, Field(ge=1)]
    first_rank: Annotated[int, Field(ge=0)] = 0
    """Number of the first rank of this node; rank 0 is always where the agent is."""
    devices: tuple[int, ...] = Field(default=(), strict=False)
    """GPUs of this node, see `wconv_jobs.ranks.placement.Placement`."""
    trials_per_gpu: Annotated[int, Field(ge=1)] = 1
    """See there."""
    address: str
    """Where the ranks find each other: host name or address of the agent's node."""
    port: int
    """And port; 0 for a single rank, which looks for no other."""
    log_folder: Path = Field(strict=False)
    """Folder for the output of each rank of this node."""
    program_server: Path | None = Field(default=None, strict=False)
    """See `wconv_jobs.ranks.program_server.start_program_server`."""
    measured_s: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Only measure the speed, for so long, see `wconv_jobs.training.speed`; null: train."""
