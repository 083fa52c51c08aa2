"""Asks a running SLURM site for its partitions, its limits, and this user's accounts."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm.accounts import Association, Qos, all_qos, associations_of
from wconv_sweep.slurm.commands import ask_side_by_side, unexpected
from wconv_sweep.slurm.values import gpus_per_node, minutes, names, number, pairs
from wconv_sweep.user_name import user_name

Row = TypeVar("Row")
_CONFIG = ("scontrol", "show", "config")
_PARTITIONS = ("scontrol", "--oneliner", "show", "partition")
# Not sinfo: it does not show the part of a node reserved for the system.
_NODES = ("scontrol", "--oneliner", "show", "node")
# Parts of the state of a node, as in IDLE+DRAIN or DOWN+NOT_RESPONDING.
_AWAY = ("DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "UNKNOWN")


@dataclass(frozen=True, kw_only=True)
class NodeKind:
    """Equal nodes of a partition."""

    nodes: int
    cpus: int
    """That jobs may have, as SLURM counts them: hardware threads where the site does."""
    mem_mb: int
    """Memory that jobs may have, MiB."""
    gpus: int
    gpu_kind: str
    """As SLURM calls it, e.g. a100; empty where it does not tell."""
    away: int = 0
    """Those among them that take no job at this moment: down, drained or failing."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The current settings of a partition."""

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
class Site:
    """Everything that SLURM reported about the site."""

    cluster: str
    version: str
    """Of SLURM, as 22.05.8."""
    max_array_size: int
    """Indices of an array run from 0 to one less than this; 0: the site takes no arrays."""
    max_job_count: int
    """Jobs that the controller keeps at the same time, those of all users."""
    partitions: tuple[Partition, ...]
    user: str
    associations: tuple[Association, ...]
    """Empty where there is no accounting, or it did not answer."""
    qos: tuple[Qos, ...]
    """Those that an association of the user or a partition names."""
    warnings: tuple[str, ...]
    """The missing facts, and why."""

    def partition(self, name: str | None) -> Partition | None:
        """Return a partition by name, without one the site's default."""
        return next(
            (each for each in self.partitions if (each.name == name if name else each.default)),
            None,
        )


def ask_site(name: str | None = None) -> Site:
    """Ask the site that this machine belongs to.

    Args:
        name: SLURM's name of one of its clusters; None: that of this machine.

    Raises:
        SlurmError: the controller does not answer, or this is not a SLURM cluster. Accounting that
            does not answer, or does not exist, is a warning.
    """
    asked = (_CONFIG, _PARTITIONS, _NODES)
    text, of_partitions, of_nodes = ask_side_by_side(asked, cluster=name)
    config = pairs(text, "\n")
    try:
        cluster, version = config["ClusterName"], config["SLURM_VERSION"]
        largest_array, most_jobs = int(config["MaxArraySize"]), int(config["MaxJobCount"])
    except (KeyError, ValueError) as error:
        raise unexpected(_CONFIG, text) from error
    user = user_name()
    partitions = tuple(_partitions(of_partitions, _kinds(of_nodes)))
    associations: tuple[Association, ...] = ()
    qos: tuple[Qos, ...] = ()
    warnings = []
    try:
        associations = tuple(associations_of(user, cluster))
        wanted = {name for association in associations for name in association.qos}
        wanted |= {partition.qos for partition in partitions}
        qos = tuple(found for found in all_qos() if found.name in wanted)
    except SlurmError as error:
        warnings.append(f"accounts, QOS and their limits are unknown: {error}")
    return Site(
        cluster=cluster,
        version=version,
        max_array_size=largest_array,
        max_job_count=most_jobs,
        partitions=partitions,
        user=user,
        associations=associations,
        qos=qos,
        warnings=tuple(warnings),
    )


def _partitions(text: str, kinds: Mapping[str, Sequence[NodeKind]]) -> Iterator[Partition]:
    def partition(row: dict[str, str]) -> Partition:
        return Partition(
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

    return _read(text, _PARTITIONS, "PartitionName=", partition)


def _kinds(text: str) -> dict[str, list[NodeKind]]:
    """Return the nodes of each partition."""

    def node(row: dict[str, str]) -> tuple[tuple[str, ...], NodeKind, bool]:
        # Without cores and memory that the site reserves for the system.
        cpus = int(row.get("CPUEfctv", row["CPUTot"]))
        mem_mb = int(row["RealMemory"]) - int(row.get("MemSpecLimit", 0))
        gpus, gpu_kind = gpus_per_node(row["Gres"])
        kind = NodeKind(nodes=1, cpus=cpus, mem_mb=mem_mb, gpus=gpus, gpu_kind=gpu_kind)
        is_away = any(word in row.get("State", "") for word in _AWAY)
        return names(row.get("Partitions", "")), kind, is_away

    count: Counter[tuple[str, NodeKind]] = Counter()
    away: Counter[tuple[str, NodeKind]] = Counter()
    for partitions, kind, is_away in _read(text, _NODES, "NodeName=", node):
        count.update((partition, kind) for partition in partitions)
        away.update((partition, kind) for partition in partitions if is_away)
    kinds: dict[str, list[NodeKind]] = {}
    for (partition, kind), nodes in count.items():
        there = replace(kind, nodes=nodes, away=away[partition, kind])
        kinds.setdefault(partition, []).append(there)
    return kinds


def _read(
    text: str, command: Sequence[str], start: str, parse: Callable[[dict[str, str]], Row]
) -> Iterator[Row]:
    """Parse the rows that a command of scontrol has printed, and pass over notices of the site.

    Raises:
        SlurmError: a row lacks something, or has it in another form.
    """
    for line in text.splitlines():
        if line.startswith(start):
            try:
                yield parse(pairs(line))
            except (KeyError, ValueError) as error:
                raise unexpected(command, line) from error


def _unless_all(text: str) -> tuple[str, ...]:
    return () if text.upper() == "ALL" else names(text)
