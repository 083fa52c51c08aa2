"""Divides a pilot's nodes, and the GPUs and cores of each, among its trials.

    lanes of a node = GPUs // ranks of a trial * trials per GPU, at least 1

A trial that has more ranks than a node has GPUs takes several nodes, equal shares of it on each.
"""

from dataclasses import dataclass

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.study.config import TrialShape


@dataclass(frozen=True)
class LaneShare:
    """The share of a trial on one node."""

    devices: tuple[int, ...]
    """Indices among the GPUs that the agent sees; none on the CPU."""
    threads_per_rank: int


@dataclass(frozen=True)
class NodeShare:
    """The resources of an agent."""

    lanes: tuple[LaneShare, ...]
    """Of the trials that it trains side by side."""
    group: tuple[int, ...]
    """Numbers of the nodes that each of its trials takes; the first one's agent leads them."""


def nodes_per_trial(gpus_used_per_node: int, ranks: int) -> int:
    """Return the number of nodes of a trial, with equally many ranks on each."""
    if gpus_used_per_node == 0:
        return 1
    fewest = -(-ranks // gpus_used_per_node)
    return next(nodes for nodes in range(fewest, ranks + 1) if ranks % nodes == 0)


def share_of(order: PilotOrder, shape: TrialShape, node: int) -> NodeShare | None:
    """Return the resources of the agent of one node of a pilot.

    Args:
        order: of the pilot.
        shape: of the study's trials.
        node: its number within the pilot, from 0.

    Returns:
        None when the node serves the trials of another agent, or no whole trial fits on what is
        left after the others.

    Raises:
        ConfigurationError: the pilot has too few GPUs for a single trial.
    """
    gpus = order.gpus_used_per_node
    nodes = nodes_per_trial(gpus, shape.ranks)
    if nodes > order.nodes:
        raise ConfigurationError(
            f"study {order.study}: trial.ranks is {shape.ranks}, which takes {nodes} nodes of "
            f"{gpus} GPU(s), but the pilot has {order.nodes}. Lower trial.ranks, or launch "
            "with more nodes."
        )
    if node % nodes or node + nodes > order.nodes:
        return None
    ranks_here = shape.ranks // nodes
    count = max(1, gpus // shape.ranks) * shape.per_gpu if gpus else order.lanes
    threads = _threads(order.cpus, count * ranks_here, shape.threads_per_rank)
    lanes = tuple(
        LaneShare(lane_devices(lane, gpus, ranks_here) if gpus else (), threads)
        for lane in range(count)
    )
    return NodeShare(lanes, tuple(range(node, node + nodes)))


def lane_devices(lane: int, gpus: int, ranks: int) -> tuple[int, ...]:
    """Return the GPUs of the ranks of a lane on a node: the first lanes have different ones.

    Args:
        lane: number of the lane.
        gpus: of the node.
        ranks: of each trial on this node.
    """
    first = lane % max(1, gpus // ranks) * ranks
    return tuple(range(first, first + ranks))


def _threads(cpus: int, ranks: int, wanted: int) -> int:
    """Return the CPU threads of each rank: no more than wanted, nor than there are cores.

    The number of threads changes the order of sums on the CPU and with it the last digits of a
    result, as another kind of processor does. More threads than cores cost far more than that.
    """
    return wanted if cpus == 0 else max(1, min(wanted, cpus // ranks))
