"""What a cluster profile says about a SLURM site: limits, network, prices, sources."""

import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec
from wconv_sweep.slurm.words import SlurmName, VariableName

Count = Annotated[int, Field(ge=1)]
Price = Annotated[FiniteFloat, Field(ge=0)]


class Limits(Spec):
    """What a job may ask for in a partition or under a QOS; null: no limit is known."""

    min_nodes: Count | None = None
    """Fewest nodes of a job."""
    max_nodes: Count | None = None
    """Most nodes of a job."""
    max_gpus: Count | None = None
    """Most GPUs of a job."""
    max_walltime_min: Count | None = None
    """Longest time limit of a job, minutes."""
    max_nodes_per_user: Count | None = None
    """Most nodes of all running jobs of a user together."""
    max_gpus_per_user: Count | None = None
    """Most GPUs of all running jobs of a user together."""
    max_running_jobs: Count | None = None
    """Most running jobs of a user."""
    max_submit_jobs: Count | None = None
    """Most jobs of a user that wait or run, each element of an array by itself."""


class PartitionsSpec(Spec):
    """The partition that pilots run in, and the limits of the site's partitions."""

    default: SlurmName | None = None
    """Partition where the command line names none; null: the site chooses."""
    known: dict[SlurmName, Limits] = Field(default_factory=dict)
    """Limits by partition."""
    site_default_has_gpu: bool | None = None
    """Whether jobs that name no partition get GPUs; null: not known."""


class QosSpec(Spec):
    """The quality of service that pilots run under, and the limits of each."""

    default: SlurmName | None = None
    """QOS where the command line names none; null: the site chooses."""
    known: dict[SlurmName, Limits] = Field(default_factory=dict)
    """Limits by QOS; if there is any, no other is accepted."""
    required: bool = False
    """Whether the site refuses jobs that name none."""
    unnamed: SlurmName | None = None
    """Which of `known` holds for jobs that name none."""

    @model_validator(mode="after")
    def _named_ones_are_known(self) -> Self:
        for key in ("default", "unnamed"):
            name = getattr(self, key)
            if name is not None and self.known and name not in self.known:
                raise ValueError(f"{key}: '{name}' is not among known: {', '.join(self.known)}")
        return self


class FilesystemSpec(Spec):
    """File systems; null: not known."""

    scratch: VariableName | None = None
    """Variable with the folder for large, temporary files."""
    purge_days: Count | None = None
    """Age at which files there are deleted, days."""
    tmp_is_ram: bool | None = None
    """Whether /tmp of a compute node lies in its memory."""


class NetworkSpec(Spec):
    """What can be reached from where; null: not known."""

    compute_internet: bool | None = None
    """Whether compute nodes reach the internet."""
    tunnel: bool | None = None
    """Whether ssh may forward ports, as a dashboard on your own machine needs it."""


class BillingSpec(Spec):
    """What an hour of a node costs.

    units = max(CPUs x per_cpu, GPUs x per_gpu, memory / node_mem_mb x per_node), rounded up to a
    multiple of `step`; `per_node` where pilots take whole nodes.
    """

    unit: Literal["core-hours", "GPU-hours", "node-hours"]
    """What the site counts in."""
    per_node: Price
    """Units for an hour of a whole node."""
    per_cpu: Price | None = None
    """Units for an hour of one of `cpus_per_node`; null: they cost nothing by themselves."""
    per_gpu: Price | None = None
    """Units for an hour of a GPU; null: they cost nothing by themselves."""
    node_mem_mb: Count | None = None
    """Memory that costs as much as a whole node, MiB; null: memory costs nothing by itself."""
    step: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Units are counted in multiples of this; null: as they are."""


class SourceSpec(Spec):
    """Where facts of a profile come from."""

    facts: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Their keys, with dots; a key stands for all inside it."""
    source: Annotated[str, Field(min_length=1)]
    """Document, or who has seen it."""
    date: datetime.date
    """Of the document where it has one, otherwise when it was read."""
    verified: bool
    """Whether the site itself says so; false for scripts of users and general knowledge."""
