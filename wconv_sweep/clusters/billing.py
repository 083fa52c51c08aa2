"""The cost of pilots, by the site's own formula."""

import math
from dataclasses import dataclass

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of all pilots together."""

    node_hours: float
    gpu_hours: float
    """As the site counts them if it counts in GPU-hours, else allocated GPUs x hours."""
    device_hours: float
    """Allocated GPUs x hours, GPUs as SLURM counts them: what the cap of a study counts."""
    core_hours: float | None
    """As the site counts them if it counts in core-hours, else allocated CPUs x hours;
    None: their number is unknown."""
    billed: float | None
    """Charge to the account; None: the formula is unknown."""
    unit: str | None
    """Of `billed`."""


def projected_cost(profile: SlurmProfile, shape: PilotShape) -> Cost:
    """Return the maximum cost of pilots before they are submitted again.

    Args:
        profile: of the site.
        shape: of the pilots; all of them run to their time limit.
    """
    return cost_of(profile, shape, shape.pilots * shape.nodes * shape.walltime_min / 60)


def cost_of(profile: SlurmProfile, shape: PilotShape, node_hours: float) -> Cost:
    """Return the cost of so many hours of a node of pilots."""
    cpus, gpus = shape.cpus_per_task, shape.gpus_held_per_node
    price = hourly_price(profile, shape)
    billed = None if price is None else node_hours * price
    unit = profile.billing.unit if profile.billing else None
    return Cost(
        node_hours=node_hours,
        gpu_hours=billed if unit == "GPU-hours" and billed is not None else node_hours * gpus,
        device_hours=node_hours * gpus,
        core_hours=billed if unit == "core-hours" else node_hours * cpus if cpus else None,
        billed=billed,
        unit=unit,
    )


def hourly_price(profile: SlurmProfile, shape: PilotShape) -> float | None:
    """Return the cost of an hour of one node of a pilot, in `profile.billing.unit`.

    None if the formula, or a number of CPUs that it needs, is unknown.
    """
    billing = profile.billing
    if billing is None:
        return None
    if profile.whole_nodes:
        return billing.per_node
    if billing.per_cpu is not None and not shape.cpus_per_task:
        return None
    shares = [
        shape.cpus_per_task * (billing.per_cpu or 0),
        shape.gpus_used_per_node * (billing.per_gpu or 0),
    ]
    if billing.node_mem_mb is not None and shape.mem_per_node_mb is not None:
        shares.append(shape.mem_per_node_mb / billing.node_mem_mb * billing.per_node)
    price = max(shares)
    if billing.step is None:
        return price
    # A price that is a multiple already may lie an epsilon above it.
    return math.ceil(price / billing.step - 1e-9) * billing.step
