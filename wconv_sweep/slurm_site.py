"""Asks a running SLURM site for its partitions, its limits, and what this user may do there."""

import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm_commands import ask_slurm
from wconv_sweep.slurm_values import gpus_of, gpus_per_node, minutes, names, number, pairs, seconds

CONFIG_COMMAND = ("scontrol", "show", "config")
PARTITION_COMMAND = ("scontrol", "--oneliner", "show", "partition")
# Nodes that differ are lines of their own with --exact, and not summed up as "32+".
NODES_COMMAND = ("sinfo", "--exact", "--noheader", "--format=%R|%D|%c|%m|%G")

_ASSOCIATION_COLUMNS = (
    *("account", "partition", "qos", "defaultqos"),
    *("maxsubmit", "maxjobs", "maxwall", "maxtres"),
)
_QOS_COLUMNS = (
    *("name", "priority", "preempt", "preemptmode", "gracetime"),
    *("maxsubmitpu", "maxsubmitpa", "maxjobspu", "maxwall", "maxtres", "maxtrespu"),
)
_SACCTMGR = ("sacctmgr", "--noheader", "--parsable2", "show")
QOS_COMMAND = (*_SACCTMGR, "qos", f"format={','.join(_QOS_COLUMNS)}")


@dataclass(frozen=True, kw_only=True)
class NodeKind:
    """Nodes of a partition that are alike."""

    nodes: int
    cpus: int
    """As SLURM counts them: hardware threads where the site does."""
    mem_mb: int
    gpus: int
    gpu_kind: str
    """As SLURM calls it, e.g. a100; empty where it does not tell."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition as it is set up just now."""

    name: str
    default: bool
    """Jobs that name no partition go there."""
    up: bool
    kinds: tuple[NodeKind, ...]
    max_time_min: int | None
    """Longest time limit of a job, minutes; None: no limit."""
    max_nodes: int | None
    """Most nodes of a job; None: no limit."""
    allow_accounts: tuple[str, ...]
    """In lower case, as accounting keeps them; empty: every account."""
    allow_qos: tuple[str, ...]
    """Empty: every QOS."""
    qos: str
    """Limits of this QOS hold for all jobs of the partition; empty: of none."""

    @property
    def gpu_nodes(self) -> int:
        return sum(kind.nodes for kind in self.kinds if kind.gpus)


@dataclass(frozen=True, kw_only=True)
class Association:
    """What a user may do on one account, perhaps in one partition only."""

    account: str
    default: bool
    """Jobs that name no account are charged to it."""
    partition: str
    """Empty: in every partition."""
    qos: tuple[str, ...]
    default_qos: str
    max_submit_jobs: int | None
    """Jobs that may wait and run at the same time, elements of arrays each by itself."""
    max_jobs: int | None
    """Jobs that may run at the same time."""
    max_wall_min: int | None
    max_gpus_per_job: int | None


@dataclass(frozen=True, kw_only=True)
class Qos:
    """Limits of a quality of service; None: no limit."""

    name: str
    priority: int
    preempts: tuple[str, ...]
    """Jobs of these QOS give way to its own."""
    preempt_mode: str
    """What happens to a job of this QOS that gives way, e.g. requeue; cluster: as elsewhere."""
    grace_s: int
    """Time between the signal and the end of a job that gives way, seconds."""
    max_submit_per_user: int | None
    max_submit_per_account: int | None
    max_jobs_per_user: int | None
    max_wall_min: int | None
    max_gpus_per_job: int | None
    max_gpus_per_user: int | None


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that the site told."""

    cluster: str
    version: str
    """Of SLURM, as 22.05.8."""
    max_array_size: int
    """Indices of an array run from 0 to one less than this."""
    max_job_count: int
    """Jobs that the controller keeps at the same time, those of all users."""
    requeues: bool
    """Jobs are requeued after a failure of their node unless they say otherwise."""
    preemption: str
    """PreemptType and PreemptMode of the cluster."""
    partitions: tuple[Partition, ...]
    user: str
    associations: tuple[Association, ...]
    """Empty where there is no accounting, or it did not answer."""
    qos: tuple[Qos, ...]
    """Those that an association of the user names."""
    warnings: tuple[str, ...]
    """What could not be learned, and why."""

    def partition(self, name: str) -> Partition | None:
        """Return a partition by name."""
        return next((found for found in self.partitions if found.name == name), None)


def ask_site() -> Site:
    """Ask the site that this machine belongs to.

    Raises:
        SlurmError: the controller does not answer, or this is no SLURM cluster. Accounting that
            does not answer, or does not exist, is a warning.
    """
    config = pairs(ask_slurm(CONFIG_COMMAND), "\n")
    user = pwd.getpwuid(os.geteuid()).pw_name
    cluster = config["ClusterName"]
    associations: tuple[Association, ...] = ()
    qos: tuple[Qos, ...] = ()
    warnings = []
    try:
        associations = tuple(_associations(user, cluster))
        wanted = {name for association in associations for name in association.qos}
        qos = tuple(found for found in _all_qos() if found.name in wanted)
    except SlurmError as error:
        warnings.append(f"accounts, QOS and their limits are not known: {error}")
    return Site(
        cluster=cluster,
        version=config["SLURM_VERSION"],
        max_array_size=int(config["MaxArraySize"]),
        max_job_count=int(config["MaxJobCount"]),
        requeues=config["JobRequeue"] == "1",
        preemption=f"{config['PreemptType']}, {config['PreemptMode']}",
        partitions=tuple(_partitions()),
        user=user,
        associations=associations,
        qos=qos,
        warnings=tuple(warnings),
    )


def association_command(user: str, cluster: str) -> tuple[str, ...]:
    """Return the command that lists what a user may do."""
    return (
        *_SACCTMGR,
        "associations",
        f"user={user}",
        f"cluster={cluster}",
        f"format={','.join(_ASSOCIATION_COLUMNS)}",
    )


def _partitions() -> Iterator[Partition]:
    kinds: dict[str, list[NodeKind]] = {}
    for line in ask_slurm(NODES_COMMAND).splitlines():
        partition, nodes, cpus, mem_mb, gres = line.split("|")
        gpus, gpu_kind = gpus_per_node(gres)
        kinds.setdefault(partition, []).append(
            NodeKind(
                nodes=int(nodes), cpus=int(cpus), mem_mb=int(mem_mb), gpus=gpus, gpu_kind=gpu_kind
            )
        )
    for line in ask_slurm(PARTITION_COMMAND).splitlines():
        row = pairs(line)
        yield Partition(
            name=row["PartitionName"],
            default=row["Default"] == "YES",
            up=row["State"] == "UP",
            kinds=tuple(kinds.get(row["PartitionName"], ())),
            max_time_min=minutes(row["MaxTime"]),
            max_nodes=number(row["MaxNodes"]),
            allow_accounts=_unless_all(row.get("AllowAccounts", "ALL").lower()),
            allow_qos=_unless_all(row.get("AllowQos", "ALL")),
            qos="" if row["QoS"] == "N/A" else row["QoS"],
        )


def _associations(user: str, cluster: str) -> Iterator[Association]:
    default = ask_slurm((*_SACCTMGR, "user", user, "format=defaultaccount")).strip()
    for row in _rows(association_command(user, cluster), _ASSOCIATION_COLUMNS):
        yield Association(
            account=row["account"],
            default=row["account"] == default,
            partition=row["partition"],
            qos=names(row["qos"]),
            default_qos=row["defaultqos"],
            max_submit_jobs=number(row["maxsubmit"]),
            max_jobs=number(row["maxjobs"]),
            max_wall_min=minutes(row["maxwall"]),
            max_gpus_per_job=gpus_of(row["maxtres"]),
        )


def _all_qos() -> Iterator[Qos]:
    for row in _rows(QOS_COMMAND, _QOS_COLUMNS):
        yield Qos(
            name=row["name"],
            priority=number(row["priority"]) or 0,
            preempts=names(row["preempt"]),
            preempt_mode=row["preemptmode"],
            grace_s=seconds(row["gracetime"]) or 0,
            max_submit_per_user=number(row["maxsubmitpu"]),
            max_submit_per_account=number(row["maxsubmitpa"]),
            max_jobs_per_user=number(row["maxjobspu"]),
            max_wall_min=minutes(row["maxwall"]),
            max_gpus_per_job=gpus_of(row["maxtres"]),
            max_gpus_per_user=gpus_of(row["maxtrespu"]),
        )


def _rows(command: Sequence[str], columns: Sequence[str]) -> Iterator[dict[str, str]]:
    for line in ask_slurm(command).splitlines():
        yield dict(zip(columns, line.split("|"), strict=True))


def _unless_all(text: str) -> tuple[str, ...]:
    return () if text.upper() == "ALL" else names(text)
