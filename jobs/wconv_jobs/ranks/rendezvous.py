"""The store where the ranks of a trial find each other, held by the agent's process."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"
"""Address of a trial that stays on one node."""
ANSWER_S = 60.0
"""Longest time to reach the store, seconds."""
_TIMEOUT = timedelta(seconds=ANSWER_S)


@contextmanager
def rendezvous(ranks: int) -> Iterator[int]:
    """Hold a store that the ranks connect to, and yield its port; 0 for a single rank.

    The system chooses the port while it opens it, so two trials never get the same. It listens on
    all addresses of this node.
    """
    if ranks == 1:
        yield 0
        return
    # An agent loads torch only for this.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    # Held here and not by rank 0, which has no way to announce its port.
    store = TCPStore(LOOPBACK, 0, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)
    yield store.port


def join(address: str, port: int) -> "TCPStore":
    """Return a rank's connection to the store.

    Raises:
        RuntimeError: it cannot be reached within `ANSWER_S`.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    return TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=_TIMEOUT)
