"""Asks accounting for the accounts of a user, the QOS, and the limits of both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wconv_sweep.slurm.commands import ask_side_by_side, ask_slurm
from wconv_sweep.slurm.values import GPU, minutes, names, number, resource, seconds

_ASSOCIATION_COLUMNS = (
    *("account", "partition", "qos", "defaultqos"),
    *("maxsubmit", "maxjobs", "maxwall", "maxtres"),
)
_QOS_COLUMNS = (
    *("name", "preempt", "gracetime", "maxsubmitpu", "maxsubmitpa", "maxjobspu"),
    *("maxwall", "maxtres", "maxtrespu", "mintres", "flags"),
)
_SACCTMGR = ("sacctmgr", "--noheader", "--parsable2", "show")


@dataclass(frozen=True, kw_only=True)
class Association:
    """Rights of a user on one account, perhaps in one partition only."""

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
    max_gpus: int | None
    """Of a job."""


@dataclass(frozen=True, kw_only=True)
class Qos:
    """Limits of a quality of service; None: no limit."""

    name: str
    preempts: tuple[str, ...]
    """Jobs of these QOS are preempted by its own."""
    grace_s: int
    """Time between the signal and the end of a preempted job of this QOS, seconds."""
    max_submit_per_user: int | None
    """Jobs that may wait and run at the same time, elements of arrays each by itself."""
    max_submit_per_account: int | None
    max_jobs_per_user: int | None
    """Jobs that may run at the same time."""
    max_wall_min: int | None
    min_nodes: int | None
    max_nodes: int | None
    """Of a job."""
    max_gpus: int | None
    """Of a job."""
    max_nodes_per_user: int | None
    max_gpus_per_user: int | None
    relative: bool = False
    """Whether the site limits nodes and GPUs to a percentage of what it has; sacctmgr prints it as
    a plain number, which is no limit here."""


def associations_of(user: str, cluster: str) -> Iterator[Association]:
    """Yield the rights of a user on the accounts of a cluster.

    Raises:
        SlurmError: accounting does not answer.
    """
    of_user = (f"user={user}", f"cluster={cluster}")
    account, associations = ask_side_by_side(
        (
            # Without the filter it is that of this machine.
            (*_SACCTMGR, "user", user, f"cluster={cluster}", "format=defaultaccount"),
            _shown("associations", _ASSOCIATION_COLUMNS, *of_user),
        )
    )
    default = account.splitlines()  # a notice of the site may stand around it
    for row in _rows(associations, _ASSOCIATION_COLUMNS):
        yield Association(
            account=row["account"],
            default=row["account"] in default,
            partition=row["partition"],
            qos=names(row["qos"]),
            default_qos=row["defaultqos"],
            max_submit_jobs=number(row["maxsubmit"]),
            max_jobs=number(row["maxjobs"]),
            max_wall_min=minutes(row["maxwall"]),
            max_gpus=resource(row["maxtres"], GPU),
        )


def all_qos() -> Iterator[Qos]:
    """Yield every QOS; those of all clusters are the same.

    Raises:
        SlurmError: accounting does not answer.
    """
    for row in _rows(ask_slurm(_shown("qos", _QOS_COLUMNS)), _QOS_COLUMNS):
        # Since SLURM 23.11; not the numbers of jobs, nor times.
        relative = "Relative" in names(row["flags"])
        if relative:
            row |= dict.fromkeys(("maxtres", "maxtrespu", "mintres"), "")
        yield Qos(
            name=row["name"],
            preempts=names(row["preempt"]),
            grace_s=seconds(row["gracetime"]) or 0,
            max_submit_per_user=number(row["maxsubmitpu"]),
            max_submit_per_account=number(row["maxsubmitpa"]),
            max_jobs_per_user=number(row["maxjobspu"]),
            max_wall_min=minutes(row["maxwall"]),
            min_nodes=resource(row["mintres"], "node"),
            max_nodes=resource(row["maxtres"], "node"),
            max_gpus=resource(row["maxtres"], GPU),
            max_nodes_per_user=resource(row["maxtrespu"], "node"),
            max_gpus_per_user=resource(row["maxtrespu"], GPU),
            relative=relative,
        )


def _shown(what: str, columns: Sequence[str], *filters: str) -> tuple[str, ...]:
    return (*_SACCTMGR, what, *filters, f"format={','.join(columns)}")


def _rows(text: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        values = line.split("|")
        if len(values) == len(columns):  # else a notice of the site, or a blank line
            yield dict(zip(columns, values, strict=True))
