"""The request of each pilot to SLURM: the profile with the changes of the command line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.words import is_slurm_name

ACCOUNT_VARIABLE = "WCONV_SWEEP_ACCOUNT"


@dataclass(frozen=True, kw_only=True)
class PilotRequest:
    """The options of the command line; None keeps the profile's value."""

    pilots: int | None = None
    nodes: int | None = None
    walltime_min: int | None = None
    qos: str | None = None
    account: str | None = None
    partition: str | None = None


@dataclass(frozen=True, kw_only=True)
class PilotShape:
    """The pilots of a launch, all alike."""

    pilots: int
    """Jobs to keep queued or running."""
    nodes: int
    """Nodes of each job."""
    gpus_used_per_node: int
    """GPUs that a job takes of each node; 0 trains on CPUs."""
    cpus_per_task: int
    """CPUs for the one agent of each node; 0: unknown, and none are requested."""
    mem_per_node_mb: int | None
    """Memory to request on each node, MiB; None: the site decides."""
    walltime_min: int
    """Time limit of each job, minutes."""
    account: str | None
    """None: the site's default."""
    qos: str | None
    """None: the site's default."""
    partition: str | None
    """None: the site's default."""

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
        ConfigurationError: an option holds what no name of SLURM's may.
    """
    variable = environment.get(ACCOUNT_VARIABLE) or None
    _check_names(request, variable)
    used = profile.gpus_used_per_node
    gpus = profile.gpus_per_node if used is None else used
    return PilotShape(
        pilots=request.pilots or profile.pilots,
        nodes=request.nodes or profile.nodes,
        gpus_used_per_node=gpus,
        cpus_per_task=_cpus(profile, gpus),
        mem_per_node_mb=gpus * profile.mem_per_gpu_mb if profile.mem_per_gpu_mb and gpus else None,
        walltime_min=request.walltime_min or profile.walltime_min,
        account=_with_suffix(profile, request.account or variable or profile.account),
        qos=request.qos or profile.qos.default,
        partition=request.partition or profile.partition.default,
    )


def _cpus(profile: SlurmProfile, gpus: int) -> int:
    node = profile.cpus_per_node or 0
    if profile.whole_nodes or not gpus:
        return node
    if profile.cpus_per_gpu:
        return gpus * profile.cpus_per_gpu
    return node * gpus // profile.gpus_per_node


def _with_suffix(profile: SlurmProfile, account: str | None) -> str | None:
    suffix = profile.account_suffix
    if account is None or suffix is None or account.endswith(suffix):
        return account
    return account + suffix


def _check_names(request: PilotRequest, variable: str | None) -> None:
    given = {
        "--account": request.account,
        ACCOUNT_VARIABLE: variable,
        "--qos": request.qos,
        "--partition": request.partition,
    }
    problems = [
        f"{origin} {name}: is not a valid SLURM name. It may contain only letters, digits "
        "and _ . @ + -, at most 100."
        for origin, name in given.items()
        if name is not None and not is_slurm_name(name)
    ]
    if problems:
        raise ConfigurationError(problems)
