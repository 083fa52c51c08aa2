"""Chooses a partition with GPUs, an account and its QOS for the studies at a site."""

from collections.abc import Iterator
from dataclasses import dataclass

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.accounts import Association, Qos
from wconv_sweep.slurm.site import NodeKind, Partition, Site


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choice, and the alternatives."""

    partition: Partition
    nodes: NodeKind
    """The most frequent kind of GPU node of the partition."""
    other_nodes: tuple[NodeKind, ...]
    """The other GPU nodes of the partition."""
    other_partitions: tuple[str, ...]
    """Names of the other partitions with GPUs that are up."""
    association: Association | None
    """None: accounting reports none, or the user has several accounts and no default."""
    other_accounts: tuple[str, ...]
    qos: tuple[Qos, ...]
    """Those that account and partition both allow, the account's default first."""


def choose(site: Site, partition: str | None = None) -> Choice:
    """Choose a partition and an account.

    Without a wish it is the partition with most nodes that have GPUs, among those that are up and
    take one of the user's accounts. The account is the one that jobs are charged to which name
    none, or the only one.

    Args:
        site: what SLURM reported.
        partition: wanted one.

    Raises:
        ConfigurationError: there is no such partition, or none with GPUs.
    """
    mine = {association.account for association in site.associations}
    chosen = _partition(site, partition, mine)
    others = [found.name for found in _with_gpus(site) if found is not chosen]
    kinds = sorted(
        (kind for kind in chosen.kinds if kind.gpus), key=lambda kind: kind.nodes, reverse=True
    )
    usable = [
        association
        for association in site.associations
        if association.partition in ("", chosen.name) and _allowed(chosen, association.account)
    ]
    association = _association(usable)
    return Choice(
        partition=chosen,
        nodes=kinds[0],
        other_nodes=tuple(kinds[1:]),
        other_partitions=tuple(others),
        association=association,
        other_accounts=tuple(
            sorted({found.account for found in usable} - {_account(association)})
        ),
        qos=tuple(_qos(site, chosen, association)),
    )


def _partition(site: Site, wanted: str | None, accounts: set[str]) -> Partition:
    with_gpus = list(_with_gpus(site))
    known = ", ".join(found.name for found in with_gpus)
    if wanted is not None:
        found = site.partition(wanted)
        if found is None:
            known = ", ".join(found.name for found in site.partitions)
            raise ConfigurationError(
                f"--partition {wanted}: {site.cluster} has none of this name. There are: {known}."
            )
        if not found.gpu_nodes:
            remedy = f"Those with GPUs: {known}." if known else "No partition has any."
            raise ConfigurationError(
                f"--partition {wanted}: its nodes have no GPU that SLURM knows of. {remedy}"
            )
        return found
    # An account that may not use it makes a partition useless, however large it is.
    usable = [
        found
        for found in with_gpus
        if not accounts or any(_allowed(found, account) for account in accounts)
    ]
    if not usable:
        remedy = (
            f"Ask for an account for one of these: {known}."
            if known
            else "Is this the right cluster?"
        )
        raise ConfigurationError(
            f"{site.cluster} has no partition that is up, has GPUs that SLURM knows of, and takes "
            f"an account of {site.user}. {remedy}"
        )
    return max(usable, key=lambda found: found.gpu_nodes)


def _with_gpus(site: Site) -> Iterator[Partition]:
    return (found for found in site.partitions if found.up and found.gpu_nodes)


def _allowed(partition: Partition, account: str) -> bool:
    return not partition.allow_accounts or account in partition.allow_accounts


def _association(usable: list[Association]) -> Association | None:
    # An association with this partition comes before one with all of them.
    first = min(usable, key=lambda found: (not found.default, not found.partition), default=None)
    accounts = {found.account for found in usable}
    return first if first is not None and (first.default or len(accounts) == 1) else None


def _account(association: Association | None) -> str | None:
    return None if association is None else association.account


def _qos(site: Site, partition: Partition, association: Association | None) -> Iterator[Qos]:
    if association is None:
        return
    for found in sorted(site.qos, key=lambda found: found.name != association.default_qos):
        if (
            found.name in association.qos
            and (not partition.allow_qos or found.name in partition.allow_qos)
            and found.max_submit_per_user != 0
        ):
            yield found
