"""What rank 0 of a program lets the other ranks know, also on other nodes."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.rendezvous import join

LOOK_S = 1.0
"""Time between two looks at whether a waiting rank's own program still runs, seconds."""


class Board:
    """The store of the trial, which the agent holds; a trial of one rank needs none."""

    def __init__(self, order: NodeOrder) -> None:
        self._store: TCPStore | None = join(order.address, order.port) if order.port else None

    def post(self, key: str, value: Any) -> None:
        """Let the others know a value; for rank 0."""
        if self._store is not None:
            self._store.set(key, json.dumps(value))

    def read(self, key: str, is_wanted: Callable[[], bool]) -> Any:
        """Wait for a value of rank 0; None once it is no longer wanted."""
        assert self._store is not None
        while is_wanted():
            try:
                self._store.wait([key], timedelta(seconds=LOOK_S))
            except RuntimeError:
                continue  # not there yet; if the agent has died, its lifeline ends this rank
            return json.loads(self._store.get(key))
        return None
