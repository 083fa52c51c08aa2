"""The keys of a cluster profile about a SLURM site: limits, network, prices, sources."""

import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec
from wconv_sweep.slurm.words import SlurmName, SlurmNames, VariableName

Count = Annotated[int, Field(ge=1)]
Price = Annotated[FiniteFloat, Field(ge=0)]


class Limits(Spec):
    """Limits of a job in a partition or under a QOS; null: no known limit."""

    min_nodes: Count | None = None
    """Minimum number of nodes of a job."""
    max_nodes: Count | None = None
    """Maximum number of nodes of a job."""
    max_gpus: Count | None = None
    """Maximum number of GPUs of a job."""
    max_walltime_min: Count | None = None
    """Maximum time limit of a job, minutes."""
    max_nodes_per_user: Count | None = None
    """Maximum number of nodes of all running jobs of a user together."""
    max_gpus_per_user: Count | None = None
    """Maximum number of GPUs of all running jobs of a user together."""
    max_running_jobs: Count | None = None
    """Maximum number of running jobs of a user."""
    max_submit_jobs: Count | None = None
    """Maximum number of queued and running jobs of a user; each array element counts."""


class PartitionsSpec(Spec):
    """The partition that pilots run in, and the limits of the site's partitions."""

    default: SlurmNames | None = None
    """Partition if the command line names none; null: the site chooses. Of several, `a,b`, jobs
    take the one that starts them first."""
    known: dict[SlurmName, Limits] = Field(default_factory=dict)
    """Limits by partition."""
    site_default_has_gpu: bool | None = None
    """Whether jobs that name no partition get GPUs; null: unknown."""


class QosSpec(Spec):
    """The quality of service that pilots run under, and the limits of each."""

    default: SlurmName | None = None
    """QOS if the command line names none; null: the site chooses."""
    known: dict[SlurmName, Limits] = Field(default_factory=dict)
    """Limits by QOS; if any is listed, no other is accepted."""
    required: bool = False
    """Whether the site refuses jobs that name none."""
    unnamed: SlurmName | None = None
    """The one of `known` that holds for jobs that name none."""

    @model_validator(mode="after")
    def _named_ones_are_known(self) -> Self:
        for key in ("default", "unnamed"):
            name = getattr(self, key)
            if name is not None and self.known and name not in self.known:
                raise ValueError(f"{key}: '{name}' is not among known: {', '.join(self.known)}")
        return self


class FilesystemSpec(Spec):
    """File systems; null: unknown."""

    scratch: VariableName | None = None
    """Variable with the folder for large, temporary files."""
    purge_days: Count | None = None
    """Age at which files there are deleted, days."""
    tmp_is_ram: bool | None = None
    """Whether /tmp of a compute node lies in its memory."""


class NetworkSpec(Spec):
    """Network access; null: unknown."""

    compute_internet: bool | None = None
    """Whether compute nodes reach the internet."""
    tunnel: bool | None = None
    """Whether ssh may forward ports, which a dashboard on your own machine needs."""


class BillingSpec(Spec):
    """Price of an hour of a node.

    units = max(CPUs x per_cpu, GPUs x per_gpu, memory / node_mem_mb x per_node), rounded up to a
    multiple of `step`; `per_node` where pilots take whole nodes.
    """

    unit: Literal["core-hours", "GPU-hours", "node-hours"]
    """Unit that the site counts in."""
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
    """A source of facts of a profile."""

    facts: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Their dotted keys; a key stands for all keys inside it."""
    source: Annotated[str, Field(min_length=1)]
    """Document, or who observed it."""
    date: datetime.date
    """Date of the document if it has one, otherwise of reading it."""
    verified: bool
    """Whether the site itself states it; false for scripts of users and general knowledge."""
