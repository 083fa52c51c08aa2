"""Writes a cluster profile of this site: what SLURM reports, and by which command."""

import datetime
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from wconv_sweep.clusters.profile import PACKAGE, check_profile
from wconv_sweep.clusters.site_choice import Choice, choose
from wconv_sweep.slurm.accounts import Association, Qos
from wconv_sweep.slurm.site import Partition, Site, ask_site
from wconv_sweep.study.resources import schema_comment
from wconv_sweep.yaml_files import Document

_LONGEST_MIN = 24 * 60
"""Even if a site allows longer jobs, a profile requests a day: shorter jobs start earlier."""


def make_profile(
    name: str | None = None,
    partition: str | None = None,
    say: Callable[[str], None] = print,
    *,
    slurm_cluster: str | None = None,
) -> str:
    """Query this site and return the YAML of its profile.

    Args:
        name: of the cluster in the profile; None takes SLURM's name for it.
        partition: with GPUs; None takes the largest one.
        say: called with each fact that could not be found out.
        slurm_cluster: the one to ask, by SLURM's name; None: that of this machine.

    Raises:
        SlurmError: there is no SLURM here, or it does not answer.
        ConfigurationError: the site has no such partition, or none with GPUs; or a name of it
            cannot stand in a profile.
    """
    site = ask_site(slurm_cluster)
    for warning in (*site.warnings, *_relative(site.qos)):
        say(warning)
    name = name or site.cluster
    text = profile_text(
        site, choose(site, partition), name, datetime.date.today(), slurm_cluster=slurm_cluster
    )
    check_profile(Document(name, yaml.safe_load(text), {}))
    return text


def profile_text(
    site: Site,
    choice: Choice,
    name: str,
    date: datetime.date,
    *,
    slurm_cluster: str | None = None,
) -> str:
    """Return the YAML of a profile, with a comment above each fact and the sources at the end.

    Args:
        site: what SLURM reported.
        choice: partition, account and QOS.
        name: of the cluster in the profile.
        date: on which the site was asked.
        slurm_cluster: the name that it was asked by, if it was.
    """
    entries = [
        *_asked(slurm_cluster),
        *_wishes(site, choice),
        *_limits(site, choice),
        *_nodes(choice),
        *_machinery(site),
    ]
    sources = [
        {
            "facts": [
                key for entry in entries if entry.command == command for key in entry.values
            ],
            "source": f"{command} (SLURM {site.version})",
            "date": date,
            "verified": True,
        }
        for command in dict.fromkeys(entry.command for entry in entries)
        if command
    ]
    head = {"schema": 1, "cluster": name, "launcher": "slurm"}
    parts = [
        f"# {name}: what SLURM of cluster {site.cluster} reported to `clusters init` on {date}.\n"
        "# It knows no modules, prices, file systems and networks: add modules, env,\n"
        "# billing, filesystem and network as the profiles that ship have them.\n"
        f"{schema_comment(PACKAGE)}\n" + _yaml(head),
        *(_block(entry) for entry in entries),
        _yaml({"sources": sources}),
    ]
    return "\n".join(parts)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A key of the profile."""

    values: dict[str, Any]
    comment: str
    command: str = ""
    """The command that reported it; empty for a choice."""


def _asked(slurm_cluster: str | None) -> Iterator[_Entry]:
    if slurm_cluster is not None:
        yield _Entry(
            values={"slurm_cluster": slurm_cluster},
            comment="Another cluster than that of the login node, or named to be sure.",
        )


def _wishes(site: Site, choice: Choice) -> Iterator[_Entry]:
    partition = limits_of_partition(site, choice.partition)
    # The first is that of jobs that name none.
    limits = [partition, *(limits_of_qos(qos, choice.association) for qos in choice.qos[:1])]
    yield _Entry(
        values={
            "walltime_min": _least(
                [*(found.get("max_walltime_min") for found in limits), _LONGEST_MIN]
            )
        },
        comment="As long as partition and QOS allow, at most a day. Shorter jobs start earlier.",
    )
    comment = "Charged for jobs that name none."
    if choice.association is None:
        comment = "Name one here, with --account or with WCONV_SWEEP_ACCOUNT."
    if choice.other_accounts:
        comment += f" You also have: {', '.join(choice.other_accounts)}."
    account = None if choice.association is None else choice.association.account
    yield _Entry(values={"account": account}, comment=comment)


def _limits(site: Site, choice: Choice) -> Iterator[_Entry]:
    with_gpus = [found for found in site.partitions if found.up and found.gpu_nodes]
    default = next((found for found in site.partitions if found.default), None)
    partition: dict[str, Any] = {
        "default": choice.partition.name,
        "known": {
            found.name: limits_of_partition(site, found)
            for found in (choice.partition, *(other for other in with_gpus))
        },
    }
    comment = "Those with GPUs."
    if default is not None:
        partition["site_default_has_gpu"] = default.gpu_nodes > 0
        comment += f" Jobs that name none go to {default.name}."
    yield _Entry(
        values={"partition": partition}, comment=comment, command="scontrol show partition"
    )
    if choice.association is not None and choice.qos:
        yield _Entry(
            values={
                "qos": {
                    "known": {
                        qos.name: limits_of_qos(qos, choice.association) for qos in choice.qos
                    },
                    "unnamed": choice.qos[0].name,
                }
            },
            comment=" ".join(["The account's own limits also count.", *_preempted(choice.qos)]),
            command="sacctmgr show qos, sacctmgr show associations",
        )


def _nodes(choice: Choice) -> Iterator[_Entry]:
    nodes = choice.nodes
    values: dict[str, Any] = {"gpus_per_node": nodes.gpus}
    kinds = {kind.gpu_kind for kind in (nodes, *choice.other_nodes)}
    comment = f"{nodes.nodes} nodes of partition {choice.partition.name}"
    if choice.other_nodes:
        comment += f"; {sum(kind.nodes for kind in choice.other_nodes)} others differ"
        if len(kinds) > 1 and nodes.gpu_kind:
            # Without it, a job might get a smaller node than the profile assumes.
            values["gpu_type"] = nodes.gpu_kind
    elif nodes.gpu_kind:
        comment += f"; their GPUs are of the type {nodes.gpu_kind}"
    values |= {
        "cpus_per_node": nodes.cpus,
        "cpus_per_gpu": nodes.cpus // nodes.gpus,
        "mem_per_node_mb": nodes.mem_mb,
        "mem_per_gpu_mb": nodes.mem_mb // nodes.gpus,
    }
    yield _Entry(values=values, comment=f"{comment}.", command="scontrol show node")


def _machinery(site: Site) -> Iterator[_Entry]:
    yield _Entry(
        values={"max_array_size": site.max_array_size},
        comment=f"The controller keeps {site.max_job_count} jobs of all users together.",
        command="scontrol show config",
    )


def limits_of_partition(site: Site, partition: Partition) -> dict[str, int]:
    """Return the limits of a partition, those of its QOS included."""
    qos = next((found for found in site.qos if found.name == partition.qos), None)
    limits = _own_limits(qos) if qos is not None else {}
    return _given(
        limits
        | {
            "max_nodes": _least([partition.max_nodes, limits.get("max_nodes")]),
            "max_walltime_min": _least([partition.max_time_min, limits.get("max_walltime_min")]),
        }
    )


def limits_of_qos(qos: Qos, account: Association | None) -> dict[str, int]:
    """Return the limits of a QOS for an account."""
    limits = _own_limits(qos)
    if account is not None:
        limits |= {
            "max_gpus": _least([qos.max_gpus, account.max_gpus]),
            "max_walltime_min": _least([qos.max_wall_min, account.max_wall_min]),
            "max_running_jobs": _least([qos.max_jobs_per_user, account.max_jobs]),
            "max_submit_jobs": _least([limits["max_submit_jobs"], account.max_submit_jobs]),
        }
    return _given(limits)


def _own_limits(qos: Qos) -> dict[str, int | None]:
    return {
        "min_nodes": qos.min_nodes,
        "max_nodes": qos.max_nodes,
        "max_gpus": qos.max_gpus,
        "max_walltime_min": qos.max_wall_min,
        "max_nodes_per_user": qos.max_nodes_per_user,
        "max_gpus_per_user": qos.max_gpus_per_user,
        "max_running_jobs": qos.max_jobs_per_user,
        "max_submit_jobs": _least([qos.max_submit_per_user, qos.max_submit_per_account]),
    }


def _preempted(qos: Sequence[Qos]) -> Iterator[str]:
    mine = {found.name: found for found in qos}
    for other in qos:
        for name in other.preempts:
            if name in mine:
                grace_s = mine[name].grace_s
                when = f"{grace_s} s after a signal" if grace_s else "at once"
                yield f"Jobs of {name} are preempted by those of {other.name} {when}."


def _relative(qos: Sequence[Qos]) -> Iterator[str]:
    for found in qos:
        if found.relative:
            yield (
                f"QOS {found.name}: its limits of GPUs and nodes are left out, because they are "
                "percentages (Flags=Relative)"
            )


def _least(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _given(limits: dict[str, int | None]) -> dict[str, int]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _block(entry: _Entry) -> str:
    comment = textwrap.wrap(entry.comment, 97)
    return "".join(f"# {line}\n" for line in comment) + _yaml(entry.values)


class _Dumper(yaml.SafeDumper):
    """Writes repeated values in full, without YAML aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(values: dict[str, Any]) -> str:
    return "".join(
        yaml.dump(
            {key: value},
            Dumper=_Dumper,
            sort_keys=False,
            # The innermost mappings and lists on one line each, keys of the profile never.
            default_flow_style=None if isinstance(value, dict | list) else False,
            width=99,
        )
        for key, value in values.items()
    )
