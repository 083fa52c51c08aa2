"""Where the ranks of a trial run: this node, its GPUs, and processes started on other nodes.

Importing this module does not import torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeCommand:
    """The way to start a process on another node."""

    command: tuple[str, ...]
    """Prefix of the program and its arguments, e.g. ("ssh", "n2"). It must pass on standard
    input and output, and the end of its input."""
    devices: tuple[int, ...] = ()
    """GPUs of that node, as `Placement.devices`."""


@dataclass(frozen=True)
class Placement:
    """Where the ranks of a trial run; every node gets as many of them, this one the first.

    Raises:
        ValueError: the nodes cannot share the ranks evenly, or a node has fewer GPUs than ranks.
    """

    ranks: int
    """Number of ranks on all nodes together."""
    devices: tuple[int, ...] = ()
    """GPUs of this node, one per rank, as numbers among those that this process sees: what a
    scheduler has made visible stays as it is. Empty trains on the CPU."""
    other_nodes: tuple[NodeCommand, ...] = ()
    address: str = ""
    """Name or address under which the other nodes reach this one; empty takes its host name."""
    trials_per_gpu: int = 1
    """Trials that train on each of the GPUs at the same time, this one included."""

    def __post_init__(self) -> None:
        nodes = 1 + len(self.other_nodes)
        if self.ranks < 1 or self.ranks % nodes:
            raise ValueError(f"{self.ranks} rank(s) cannot be shared evenly by {nodes} node(s)")
        for devices in (self.devices, *(node.devices for node in self.other_nodes)):
            if devices and len(devices) < self.ranks_per_node:
                raise ValueError(
                    f"{self.ranks_per_node} rank(s) of a node cannot have a GPU each of "
                    f"{list(devices)}"
                )
            if bool(devices) is not bool(self.devices):
                raise ValueError("some nodes of a trial have GPUs, others have none")

    @property
    def ranks_per_node(self) -> int:
        """Number of ranks on each node."""
        return self.ranks // (1 + len(self.other_nodes))
