"""A cluster profile: the facts of the machine that a study runs on.

`launcher` chooses between two kinds: pilots as processes of this machine, or as jobs of SLURM.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec
from wconv_sweep.clusters.site_facts import (
    BillingSpec,
    Count,
    FilesystemSpec,
    NetworkSpec,
    PartitionsSpec,
    QosSpec,
    SourceSpec,
)
from wconv_sweep.clusters.sources import source_problems
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.sbatch_options import SbatchName, SbatchValue
from wconv_sweep.slurm.words import (
    AccountSuffix,
    ClusterName,
    Constraint,
    ModuleName,
    SetupCommand,
    SlurmName,
    VariableName,
    VariableValue,
    setup_line,
)
from wconv_sweep.study import resources
from wconv_sweep.study.search_config import Name
from wconv_sweep.validation import validate
from wconv_sweep.yaml_files import Document, read_document

PACKAGE = "wconv_slurm_templates"
"""Data package of the shipped profiles."""


class _Profile(Spec):
    """Keys of both kinds of profiles."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this file format."""
    cluster: Name
    storage: Annotated[str, Field(min_length=1)] | None = None
    """URL of the database, without a password, if neither `--storage` nor a variable names
    one; null: `sweep.db` in the folder of all runs. Commands that take no profile need it as
    `--storage`."""
    walltime_min: Count
    """Time limit of a pilot, minutes; trials checkpoint and stop before it."""
    lease_s: Annotated[FiniteFloat, Field(gt=0)] = 60.0
    """Silence after which an agent's slot goes to another, seconds."""
    grace_s: Annotated[FiniteFloat, Field(ge=0)] = 120.0
    """Time for a trial to reach its next checkpoint after it is asked to stop, seconds; the
    last part of the walltime is reserved for it. SLURM's signal comes that long before the end."""

    @model_validator(mode="after")
    def _grace_fits_into_the_walltime(self) -> Self:
        if self.grace_s >= 60 * self.walltime_min:
            raise ValueError(
                f"grace_s ({self.grace_s:g} s) leaves nothing of walltime_min "
                f"({self.walltime_min} min) to train in"
            )
        return self


class LocalProfile(_Profile):
    """Pilots are processes of this machine."""

    launcher: Literal["local"]
    """`local` starts pilots as processes of this machine."""
    pilots: Count
    """Pilots that work on a study at the same time."""
    gpus_per_pilot: Annotated[int, Field(ge=0)]
    """GPUs of each pilot, which shares them with no other; 0 trains on the CPU."""
    lanes: Count | None = None
    """Trials that a pilot without GPUs trains side by side; null: as many as the cores of this
    machine compute and its memory holds."""

    @model_validator(mode="after")
    def _gpus_say_how_many_trials_there_are(self) -> Self:
        if self.lanes is not None and self.gpus_per_pilot:
            raise ValueError(
                f"lanes is {self.lanes}, but with gpus_per_pilot: {self.gpus_per_pilot} their "
                "number and trial.ranks of the study say how many trials run side by side. Leave "
                "lanes out"
            )
        return self


class SlurmProfile(_Profile):
    """Pilots are jobs of a SLURM site."""

    launcher: Literal["slurm"]
    """`slurm` submits pilots as jobs."""
    pilots: Count = 1
    """Jobs that work on a study at the same time, unless `--pilots` says otherwise."""
    nodes: Count = 1
    """Nodes of each job, unless `--nodes` says otherwise."""
    gpus_used_per_node: Annotated[int, Field(ge=0)] | None = None
    """GPUs that a job uses on each of its nodes; null: all of them. With `whole_nodes` it holds,
    and pays for, all of them in any case."""
    slurm_cluster: ClusterName | None = None
    """SLURM's own name of the cluster, where several share a login node (`sbatch --clusters`);
    null: that of the machine. It is one of those that `sacctmgr show clusters` lists."""
    account: SlurmName | None = None
    """Account to charge; null: from `--account` or WCONV_SWEEP_ACCOUNT."""
    account_required: bool = False
    """Whether the site refuses jobs that name none."""
    account_suffix: AccountSuffix | None = None
    """Added to accounts that do not end with it, e.g. `_g` for the GPU part of an allocation."""
    wckey: SlurmName | None = None
    """Workload characterization key; null: none, as sites with a list refuse unknown keys."""
    partition: PartitionsSpec = PartitionsSpec()
    qos: QosSpec = QosSpec()
    constraint: Constraint | None = None
    """Required features of nodes, e.g. `gpu&hbm80g`."""
    gpu_flag: Literal["gres", "gpus-per-node", "gpus-per-task"] = "gres"
    """Option of sbatch that requests GPUs."""
    gpu_type: SlurmName | None = None
    """Kind of GPU to request, e.g. a100; null: any."""
    gpus_per_node: Annotated[int, Field(ge=0)]
    """GPUs of a node; 0: pilots train on CPUs."""
    cpus_per_node: Count | None = None
    """CPUs of a node that jobs may have, as the site's SLURM counts them: cores, or hardware
    threads where it does; null: unknown, and none are requested."""
    cpus_per_gpu: Count | None = None
    """CPUs per GPU; null: its share of the node's."""
    mem_per_node_mb: Count | None = None
    """Memory of a node that jobs may have, MiB; null: unknown."""
    mem_per_gpu_mb: Count | None = None
    """Memory to request per GPU, MiB; null: all of the node with `whole_nodes`, otherwise none is
    requested, and the site decides."""
    whole_nodes: bool = False
    """Whether pilots take whole nodes that no other job shares."""
    hint: Literal["nomultithread", "multithread", "compute_bound", "memory_bound"] | None = None
    """Option `--hint` of sbatch."""
    sbatch: dict[SbatchName, SbatchValue] = Field(default_factory=dict)
    """Further options of sbatch by their long names, e.g. `reservation: course`; true for one
    without a value. Options that other keys set are refused."""
    requeue: bool = True
    """Whether a job goes back into the queue after a preemption, its time limit or the failure of
    a node; otherwise `wconv-sweep launch` adds the pilots that are missing."""
    max_array_size: Annotated[int, Field(ge=0)] = 1001
    """MaxArraySize of the site: maximum number of jobs in an array. SLURM's default is 1001; 0: it
    takes none, and each pilot is a job of its own."""
    setup: list[SetupCommand] = Field(default_factory=list)
    """Commands before the modules are loaded: `module`, `source`, `ulimit` or `umask` with words
    and variables alone."""
    modules: list[ModuleName] = Field(default_factory=list)
    """Environment modules to load, in this order."""
    env: dict[VariableName, VariableValue] = Field(default_factory=dict)
    """Environment variables of the agents and ranks, e.g. NCCL_SOCKET_IFNAME; taken as they
    stand, and never for a password."""
    billing: BillingSpec | None = None
    """What jobs cost; null: unknown."""
    filesystem: FilesystemSpec = FilesystemSpec()
    network: NetworkSpec = NetworkSpec()
    login_cpu_limit_s: Count | None = None
    """CPU time after which processes on login nodes are killed, seconds; null: unknown."""
    sources: list[SourceSpec] = Field(default_factory=list)
    """The source of each fact; shipped profiles give a source for every one."""

    @property
    def setup_lines(self) -> tuple[str, ...]:
        """`setup` as lines of shell, quoted."""
        return tuple(setup_line(command) for command in self.setup)

    @model_validator(mode="after")
    def _a_job_takes_no_more_than_a_node_has(self) -> Self:
        used, there = self.gpus_used_per_node, self.gpus_per_node
        if used is not None and used > there:
            raise ValueError(f"gpus_used_per_node ({used}) is more than gpus_per_node ({there})")
        return self


ClusterProfile = LocalProfile | SlurmProfile

_KINDS: dict[str, type[LocalProfile] | type[SlurmProfile]] = {
    "local": LocalProfile,
    "slurm": SlurmProfile,
}


def load_profile(wanted: str) -> ClusterProfile:
    """Return a profile by name or by the path of a file.

    Args:
        wanted: a path that ends in .yaml, or a name: of a file in `own_folder`, else of a profile
            that ships.

    Raises:
        ConfigurationError: it does not exist or is wrong; every problem is named.
    """
    path, name = resources.find(PACKAGE, "cluster", wanted, own_folder())
    return check_profile(read_document(path, name))


def own_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's own profiles, which need not exist.

    Args:
        environment: XDG_CONFIG_HOME in it stands for ~/.config (XDG Base Directory Specification,
            which has relative paths ignored).
    """
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    config = named if named.is_absolute() else Path(os.path.expanduser("~/.config"))
    return config / "wconv-sweep" / "clusters"


def check_profile(document: Document) -> ClusterProfile:
    """Return the profile that a document holds.

    Raises:
        ConfigurationError: with every problem found.
    """
    kind = document.content.get("launcher")
    if not isinstance(kind, str) or kind not in _KINDS:
        known = " or ".join(_KINDS)
        found = "is required, but missing" if kind is None else f"it is {kind!r}"
        raise ConfigurationError(document.problem(("launcher",), f"takes {known} ({found})"))
    profile = validate(document, _KINDS[kind])
    if isinstance(profile, SlurmProfile):
        problems = [
            document.problem(location, text) for location, text in source_problems(profile)
        ]
        if problems:
            raise ConfigurationError(problems)
    return profile
