"""The identity of an agent: its pilot, its node, and the agents that it replaces.

The owner of a slot starts with the place of its agent, `host/pilot-3/` on this machine and
`slurm-1234_3/0/node/` in a job: number of the job and its element, restarts so far, node. So
an agent that knows that a job is gone, or has restarted, hands back what it held. Where the
profile names a cluster of SLURM it is `slurm-name:1234_3/0/node/`: another cluster may have a job
of the same number.
"""

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.pilots.order import PilotOrder


def owner_in_job(job: str, cluster: str | None) -> str:
    """Return the start of the owner names of all agents of a job, of whichever start.

    Args:
        job: as SLURM shows it, `1234` or `1234_3`.
        cluster: SLURM's name of its cluster, where the profile names one.
    """
    return f"slurm-{_unique(job, cluster)}/"


@dataclass(frozen=True)
class PilotPlace:
    """The pilot and node of an agent."""

    pilot: int
    """Number of the pilot within the study."""
    host: str
    """Name of the node."""
    node: int = 0
    """Number of the node within the pilot, from 0."""
    hosts: tuple[str, ...] = ()
    """Names of the pilot's nodes."""
    job: str | None = None
    """The job as SLURM prints it, `1234` or `1234_3`; None on this machine."""
    cluster: str | None = None
    """SLURM's name of the job's cluster, where the profile names one."""
    restart: int = 0
    """Number of restarts of the job by SLURM."""

    @property
    def prefix(self) -> str:
        """Start of the owner names of this agent's slots."""
        if self.job is None:
            return f"{self.host}/pilot-{self.pilot}/"
        return f"{self._incarnation(self.job)}{self.host}/"

    def is_dead(self, owner: str) -> bool:
        """Return whether an owner is an agent whose place this one has taken."""
        if self.job is None:
            # This agent holds the lock of its number.
            return owner.startswith(self.prefix)
        earlier = owner.startswith(self.dead_prefix)
        return self.restart > 0 and earlier and not owner.startswith(self._incarnation(self.job))

    @property
    def dead_prefix(self) -> str:
        """Start of the owner names that `is_dead` is asked about."""
        return self.prefix if self.job is None else owner_in_job(self.job, self.cluster)

    @property
    def incarnation(self) -> str | None:
        """The job and its restarts, for the record of the pilot."""
        return None if self.job is None else f"{self.any_incarnation(self.job)}{self.restart}"

    def any_incarnation(self, job: str) -> str:
        """Return the start of `incarnation` of every start of a job of this cluster."""
        return f"{_unique(job, self.cluster)}."

    def _incarnation(self, job: str) -> str:
        return f"{owner_in_job(job, self.cluster)}{self.restart}/"


def _unique(job: str, cluster: str | None) -> str:
    """Return a job in a form that no job of another cluster has."""
    return f"{cluster}:{job}" if cluster else job


def place_of(
    order: PilotOrder,
    environment: Mapping[str, str] = os.environ,
    expand: Callable[[str], tuple[str, ...]] = lambda names: (names,),
) -> PilotPlace:
    """Return the place of this process.

    Args:
        order: of the pilot.
        environment: with the variables that SLURM sets for each task.
        expand: returns the nodes of a list in SLURM's notation.

    Raises:
        ConfigurationError: the order is for a job, and this process belongs to none.
    """
    if order.launcher == "local":
        host = platform.node()
        return PilotPlace(order.pilot, host, hosts=(host,))
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        raise ConfigurationError(
            f"the pilot of study {order.study} was ordered for SLURM, but runs in none of its "
            "jobs: SLURM_JOB_ID is not set. Start it with `wconv-sweep launch`."
        )
    element = environment.get("SLURM_ARRAY_TASK_ID")
    array = environment.get("SLURM_ARRAY_JOB_ID", job)
    hosts = expand(environment.get("SLURM_JOB_NODELIST", platform.node()))
    return PilotPlace(
        pilot=order.pilot + int(element or 0),
        host=environment.get("SLURMD_NODENAME", platform.node()),
        node=int(environment.get("SLURM_NODEID", "0")),
        hosts=hosts,
        job=job if element is None else f"{array}_{element}",
        cluster=order.slurm_cluster,
        restart=int(environment.get("SLURM_RESTART_COUNT", "0")),
    )
