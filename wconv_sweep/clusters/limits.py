"""Holds pilots against the limits of the QOS and the partitions that they name."""

from collections.abc import Iterator

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.clusters.site_facts import Limits


def beyond_limits(profile: SlurmProfile, shape: PilotShape) -> tuple[str, ...]:
    """Return what the site refuses of pilots, or would keep in the queue forever, for a limit.

    Args:
        profile: of the site; what it does not know is not checked.
        shape: of the pilots.
    """
    found = [
        text
        for name, limits in _qos_limits(profile, shape)
        for text in _beyond(name, limits, shape)
    ]
    places = _beyond_partitions(profile, shape)
    # Of several partitions one is enough.
    if all(places.values()):
        found += [text for texts in places.values() for text in texts]
    return tuple(found)


def within_limits(profile: SlurmProfile, shape: PilotShape) -> Iterator[str]:
    """Yield which partitions cannot take pilots while others can, and how many run at once.

    Args:
        profile: of the site; what it does not know is not checked.
        shape: of the pilots.
    """
    places = _beyond_partitions(profile, shape)
    if not all(places.values()):
        for texts in places.values():
            yield from texts
    for name, limits in (*_qos_limits(profile, shape), *_partition_limits(profile, shape)):
        yield from _waiting(name, limits, shape)


def _qos_limits(profile: SlurmProfile, shape: PilotShape) -> Iterator[tuple[str, Limits]]:
    """Yield the limits of the QOS of pilots, if they are known, with its name in messages."""
    qos = shape.qos or profile.qos.unnamed
    if qos in profile.qos.known:
        yield f"QOS {qos}", profile.qos.known[qos]


def _partition_limits(profile: SlurmProfile, shape: PilotShape) -> Iterator[tuple[str, Limits]]:
    """Yield the limits of each partition that pilots may run in, with its name in messages."""
    for name in shape.partitions:
        yield f"partition {name}", profile.partition.known.get(name, Limits())


def _beyond_partitions(profile: SlurmProfile, shape: PilotShape) -> dict[str, list[str]]:
    """Return what each partition that pilots may run in refuses of them."""
    return {
        name: list(_beyond(name, limits, shape))
        for name, limits in _partition_limits(profile, shape)
    }


def _beyond(name: str, limits: Limits, shape: PilotShape) -> Iterator[str]:
    # SLURM counts what a job holds, also what it does not ask for of a whole node.
    gpus = shape.nodes * shape.gpus_held_per_node
    if limits.max_walltime_min is not None and shape.walltime_min > limits.max_walltime_min:
        yield (
            f"--time: {shape.walltime_min} min are more than the {limits.max_walltime_min} min "
            f"that {name} allows. Use --time {limits.max_walltime_min}, or another QOS or "
            "partition."
        )
    if limits.min_nodes is not None and shape.nodes < limits.min_nodes:
        yield (
            f"--nodes {shape.nodes}: {name} takes jobs of {limits.min_nodes} nodes or more. Use "
            f"--nodes {limits.min_nodes}, or another QOS or partition."
        )
    most_nodes = _least(limits.max_nodes, limits.max_nodes_per_user)
    if most_nodes is not None and shape.nodes > most_nodes:
        yield (
            f"--nodes {shape.nodes}: {name} allows {most_nodes}. Use --nodes {most_nodes}, or "
            "another QOS or partition."
        )
    most_gpus = _least(limits.max_gpus, limits.max_gpus_per_user)
    if most_gpus is not None and gpus > most_gpus:
        yield (
            f"{shape.nodes} x {shape.gpus_held_per_node} GPUs: {name} allows {most_gpus}. Lower "
            "--nodes or gpus_used_per_node, or use another QOS or partition."
        )
    if limits.max_submit_jobs is not None and shape.pilots > limits.max_submit_jobs:
        yield (
            f"--pilots {shape.pilots}: {name} takes {limits.max_submit_jobs} jobs of a user at "
            f"a time. Use --pilots {limits.max_submit_jobs}, or another QOS or partition."
        )


def _waiting(name: str, limits: Limits, shape: PilotShape) -> Iterator[str]:
    """Yield the number of pilots that run at the same time, unless it is all of them."""
    gpus = shape.nodes * shape.gpus_held_per_node
    at_once = _least(
        limits.max_running_jobs,
        limits.max_nodes_per_user and limits.max_nodes_per_user // shape.nodes,
        limits.max_gpus_per_user and gpus and limits.max_gpus_per_user // gpus,
    )
    if at_once and at_once < shape.pilots:
        yield f"of {shape.pilots} pilots {at_once} run at the same time; {name} allows no more."


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit), default=None)
