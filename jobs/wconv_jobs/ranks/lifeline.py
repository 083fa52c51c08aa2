"""Connects an agent with its process on another node: pulses show that the agent lives."""

import os
import select
import threading
from collections.abc import Callable

PULSE_S = 5.0
"""Time between two pulses of the agent, seconds."""
SILENCE_S = 30.0
"""Time without a pulse after which the agent is dead: the connection may outlive it without
a sign. Two pulses, because a suspended node finds one overdue when it wakes up."""
PULSE = b"\n"


class Lifeline:
    """The other node's end: watches a file for pulses, and for its end.

    Args:
        descriptor: of the file.
        on_cut: called once from another thread when the agent has hung up or died.
        silence_s: see `SILENCE_S`.
    """

    def __init__(
        self, descriptor: int, on_cut: Callable[[], None], silence_s: float = SILENCE_S
    ) -> None:
        self._descriptor, self._on_cut, self._silence_s = descriptor, on_cut, silence_s
        self._cut = threading.Event()
        threading.Thread(target=self._watch, name="node lifeline", daemon=True).start()

    @property
    def is_cut(self) -> bool:
        """Whether the agent has hung up or died."""
        return self._cut.is_set()

    def _watch(self) -> None:
        silences = 0
        while silences < 2:
            ready, _, _ = select.select([self._descriptor], [], [], self._silence_s)
            silences = 0 if ready else silences + 1
            if ready and not os.read(self._descriptor, 4096):
                break
        self._cut.set()
        self._on_cut()
