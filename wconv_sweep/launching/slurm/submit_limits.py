"""The number of jobs that a site lets its user have in the queue, by SLURM or the profile.

A site counts every element of an array, queued ones and the user's other jobs included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.present_limits import association_of
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.errors import SlurmError
from wconv_sweep.launching.slurm.never_starting import never_starting
from wconv_sweep.slurm.queue import QueuedJob
from wconv_sweep.slurm.site import Site, ask_site


@dataclass(frozen=True)
class SubmitLimits:
    """The current limits of a site."""

    array: int
    """Jobs of one array; 0: the site takes no arrays."""
    room: int | None
    """Further jobs in the queue; None: no limit is known."""
    never_start: tuple[str, ...] = ()
    """Why the site would take them and could never start them, each with what to do."""


def submit_limits(
    profile: SlurmProfile, shape: PilotShape, queue: Sequence[QueuedJob]
) -> SubmitLimits:
    """Ask the site; without an answer, the profile counts.

    Args:
        profile: of the site.
        shape: of the pilots.
        queue: the user's jobs on its cluster.
    """
    try:
        site = ask_site(profile.slurm_cluster)
    except SlurmError:
        site = None
    array = profile.max_array_size
    if site is not None:
        array = min(array, site.max_array_size)
    never_start = never_starting(profile, shape, site) if site is not None else ()
    limits = list(_limits(profile, shape, site))
    if not limits:
        return SubmitLimits(array, None, never_start)
    mine = [each for each in queue if each.job.alive]
    rooms = [
        limit - sum(not name or getattr(each, kind).lower() == name.lower() for each in mine)
        for limit, kind, name in limits
    ]
    return SubmitLimits(array, max(0, min(rooms)), never_start)


def _limits(
    profile: SlurmProfile, shape: PilotShape, site: Site | None
) -> Iterator[tuple[int, Literal["account", "qos", "partition"], str]]:
    """Yield each limit, with the kind and the name of what the jobs that it counts are of."""
    association = None
    if site is not None:
        association = association_of(site, shape.account, site.partition(shape.partition))
    if association is not None and association.max_submit_jobs is not None:
        yield association.max_submit_jobs, "account", association.account
    qos = shape.qos or (association.default_qos if association else "") or profile.qos.unnamed
    for kind in site.qos if site else ():
        if kind.name == qos and kind.max_submit_per_user is not None:
            yield kind.max_submit_per_user, "qos", qos
    if qos in profile.qos.known:
        limit = profile.qos.known[qos].max_submit_jobs
        if limit is not None:
            yield limit, "qos", qos
    # Of several partitions, only the site knows which of them takes the next job.
    if shape.partition in profile.partition.known:
        limit = profile.partition.known[shape.partition].max_submit_jobs
        if limit is not None:
            yield limit, "partition", shape.partition
