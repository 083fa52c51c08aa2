"""The request of each pilot to SLURM: the profile with the changes of the command line."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.sbatch_options import batch_options, option_problems
from wconv_sweep.slurm.words import are_slurm_names, is_slurm_name

ACCOUNT_VARIABLE = "WCONV_SWEEP_ACCOUNT"


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The options of the command line for any job; None keeps the profile's value."""

    walltime_min: int | None = None
    qos: str | None = None
    account: str | None = None
    partition: str | None = None
    sbatch: Mapping[str, str | int] = field(default_factory=dict)
    """Further options of sbatch by name; an empty value takes away what the profile has."""

    @property
    def _free(self) -> tuple[str, ...]:
        """Options that only a profile sets, and jobs without one leave to the user."""
        return ("mem", "mem-per-cpu")

    def check(self, account_variable: str | None = None) -> None:
        """Check that each value may stand in a batch script.

        Args:
            account_variable: the value of WCONV_SWEEP_ACCOUNT.

        Raises:
            ConfigurationError: with all values that may not.
        """
        named = {
            "--account": self.account,
            ACCOUNT_VARIABLE: account_variable,
            "--qos": self.qos,
            "--partition": self.partition,
        }
        problems = [*_name_problems(named), *option_problems(self.sbatch, self._free)]
        if problems:
            raise ConfigurationError(problems)

    def options(self) -> dict[str, str | int]:
        """Return the options of sbatch that it names, without the time limit."""
        named = {"account": self.account, "partition": self.partition, "qos": self.qos}
        given = {name: text for name, text in named.items() if text}
        return batch_options(given | dict(self.sbatch))


@dataclass(frozen=True, kw_only=True)
class PilotRequest(JobRequest):
    """The options of the command line for pilots."""

    @property
    def _free(self) -> tuple[str, ...]:
        return ()

    pilots: int | None = None
    nodes: int | None = None


@dataclass(frozen=True, kw_only=True)
class PilotShape:
    """The pilots of a launch, all alike."""

    pilots: int
    """Jobs to keep queued or running."""
    nodes: int
    """Nodes of each job."""
    gpus_used_per_node: int
    """GPUs that a job uses on each node; 0 trains on CPUs."""
    gpus_held_per_node: int
    """GPUs of each node that nobody else gets meanwhile: more than it uses, of whole nodes."""
    cpus_per_task: int
    """CPUs for the one agent of each node; 0: unknown, and none are requested."""
    mem_per_node_mb: int | None
    """Memory to request on each node, MiB; 0: all of it; None: the site decides."""
    walltime_min: int
    """Time limit of each job, minutes."""
    account: str | None
    """None: the site's default."""
    qos: str | None
    """None: the site's default."""
    partition: str | None
    """None: the site's default; of several, with commas between, the first that is free."""
    sbatch: Mapping[str, str | int]
    """Further options of sbatch by name; an empty value takes away what the profile has."""

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions by name; none: the site's default."""
        return tuple(self.partition.split(",")) if self.partition else ()

    def cpu_lanes(self, ranks: int, threads_per_rank: int) -> int:
        """Return how many trials fit side by side on the CPUs of a node, at least 1."""
        return max(1, self.cpus_per_task // (ranks * threads_per_rank))


def resolve_request(
    profile: SlurmProfile,
    request: PilotRequest,
    environment: Mapping[str, str] = os.environ,
) -> PilotShape:
    """Return the request of pilots; `wconv_sweep.clusters.lint` says whether they would get it.

    The account comes from the command line, WCONV_SWEEP_ACCOUNT or the profile, in this order.

    Args:
        profile: of the site.
        request: options of the command line.
        environment: the variables.

    Raises:
        ConfigurationError: an option holds what may not stand in a batch script.
    """
    variable = environment.get(ACCOUNT_VARIABLE) or None
    request.check(variable)
    used = profile.gpus_used_per_node
    gpus = profile.gpus_per_node if used is None else used
    return PilotShape(
        pilots=request.pilots or profile.pilots,
        nodes=request.nodes or profile.nodes,
        gpus_used_per_node=gpus,
        gpus_held_per_node=profile.gpus_per_node if profile.whole_nodes else gpus,
        cpus_per_task=_cpus(profile, gpus),
        mem_per_node_mb=_memory_mb(profile, gpus),
        walltime_min=request.walltime_min or profile.walltime_min,
        account=_with_suffix(profile, request.account or variable or profile.account),
        qos=request.qos or profile.qos.default,
        partition=request.partition or profile.partition.default,
        sbatch={**profile.sbatch, **request.sbatch},
    )


def _cpus(profile: SlurmProfile, gpus: int) -> int:
    node = profile.cpus_per_node or 0
    if profile.whole_nodes or not gpus:
        return node
    if profile.cpus_per_gpu:
        return gpus * profile.cpus_per_gpu
    return node * gpus // profile.gpus_per_node


def _memory_mb(profile: SlurmProfile, gpus: int) -> int | None:
    if profile.mem_per_gpu_mb and gpus:
        return gpus * profile.mem_per_gpu_mb
    # A job that asks for none gets the site's share for its CPUs, also of a node of its own.
    return 0 if profile.whole_nodes else None


def _with_suffix(profile: SlurmProfile, account: str | None) -> str | None:
    suffix = profile.account_suffix
    if account is None or suffix is None or account.endswith(suffix):
        return account
    return account + suffix


def _name_problems(given: Mapping[str, str | None]) -> Iterator[str]:
    for origin, name in given.items():
        is_valid = are_slurm_names if origin == "--partition" else is_slurm_name
        if name is not None and not is_valid(name):
            yield (
                f"{origin} {name}: is not a valid SLURM name. It may contain only letters, digits "
                "and _ . @ + -, at most 100."
            )
