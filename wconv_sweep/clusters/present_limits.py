"""The limits that a site has at this moment, in the place of those that a profile remembers."""

from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.clusters.site_facts import Limits, PartitionsSpec, QosSpec
from wconv_sweep.clusters.site_profile import limits_of_partition, limits_of_qos
from wconv_sweep.slurm.accounts import Association
from wconv_sweep.slurm.site import Partition, Site


def association_of(
    site: Site, name: str | None, partition: Partition | None
) -> Association | None:
    """Return the rights that jobs of an account have in a partition; None: there are none.

    Args:
        site: as it is now.
        name: of the account; None is the user's default.
        partition: of the jobs; None: no partition is known.
    """
    mine = [
        found
        for found in site.associations
        if (found.account.lower() == name.lower() if name else found.default)
        and found.partition in ("", partition.name if partition else "")
    ]
    # An association with this partition comes before one with all of them.
    return max(mine, key=lambda found: found.partition, default=None)


def with_present_limits(
    profile: SlurmProfile,
    site: Site,
    partition: Partition,
    account: Association | None,
    qos: str | None,
) -> SlurmProfile:
    """Return a profile that knows the limits of the site for these jobs, and no others.

    Args:
        profile: of the site.
        site: as it is now.
        partition: of the jobs.
        account: of the jobs; None: it is unknown.
        qos: of the jobs by name; None is the default of the account.
    """
    name = qos or (account.default_qos if account else "")
    found = next((each for each in site.qos if each.name == name), None)
    partitions = {partition.name: Limits(**limits_of_partition(site, partition))}
    kinds = {found.name: Limits(**limits_of_qos(found, account))} if found else {}
    return profile.model_copy(
        update={
            "partition": PartitionsSpec(known=partitions),
            "qos": QosSpec(known=kinds, unnamed=found.name if found else None),
        }
    )
