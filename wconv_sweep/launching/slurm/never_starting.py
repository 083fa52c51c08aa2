"""Finds pilots that SLURM takes and would keep in the queue forever.

sbatch takes a job beyond a limit of its QOS that has no flag DenyOnLimit, and at a site with
EnforcePartLimits=NO, which is SLURM's default, one beyond a limit of its partition; `--test-only`
even promises such a job a start. Limits may also be waived in ways that SLURM does not show, so
this is something to tell, and no reason to refuse.
"""

from dataclasses import replace

from wconv_sweep.clusters.limits import beyond_limits
from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.present_limits import association_of, with_present_limits
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.slurm.site import Site


def never_starting(profile: SlurmProfile, shape: PilotShape, site: Site) -> tuple[str, ...]:
    """Return why pilots could never start, each reason with what to do.

    Args:
        profile: of the site.
        shape: of the pilots.
        site: as it is now.
    """
    reasons: list[str] = []
    for name in shape.partitions or (None,):
        partition = site.partition(name)
        if partition is None:
            return ()
        account = association_of(site, shape.account, partition)
        now = with_present_limits(profile, site, partition, account, shape.qos)
        # The number of pilots keeps none of them from starting.
        found = beyond_limits(now, replace(shape, partition=partition.name, pilots=1))
        if not found:
            return ()
        reasons += found
    return tuple(dict.fromkeys(reasons))
