"""How often a program of this package looks for garbage."""

import atexit
import gc

_NEW_OBJECTS = 100_000
"""Containers, those freed taken off, after which Python looks; its default is 700 or 2,000."""


def look_rarely() -> None:
    """Let this process look for garbage after many more new objects than Python's default.

    Nothing that an import makes is garbage, and torch makes so much that looking for it takes a
    fifth of the time in which a pilot starts. At the end, where Python would look through all of
    it twice, nothing is looked for: what the process has goes with it.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # the first one that is registered is the last one that is called
