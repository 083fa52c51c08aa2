"""Pauses between tries, longer each time and never the same for two processes."""

import itertools
import random
from collections.abc import Iterator


def pauses(first_s: float, longest_s: float) -> Iterator[float]:
    """Yield pauses without end: doubled up to the longest, each a random part of it.

    A common cause of failures, such as a server that restarts, would otherwise make all processes
    retry at once, again and again.
    """
    for number in itertools.count():
        yield min(longest_s, first_s * 2 ** min(number, 30)) * random.uniform(0.5, 1.0)
