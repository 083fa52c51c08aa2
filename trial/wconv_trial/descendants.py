"""What a program of the user's has started, also in a session of its own: services, daemons.

A process group holds only what has not left it. A process that adopts orphans stays the ancestor
of all that it has started, whichever of their parents have ended.
"""

import contextlib
import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Set

_PR_SET_CHILD_SUBREAPER = 36
"""See prctl(2)."""


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, which otherwise init becomes."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_descendants() -> None:
    """Kill all that this process has started, if it adopts orphans."""
    _kill({os.getpid()})


def kill_orphans(parent: int) -> None:
    """Kill what a process has adopted: its children in other sessions, with all they have started.

    Args:
        parent: number of a process whose own children stay in its session.
    """
    session = os.getsid(parent)
    adopted = {
        pid
        for pid, found in _processes().items()
        if found.parent == parent and found.session != session
    }
    _send_kill(adopted)
    _kill(adopted)


@dataclass(frozen=True)
class _Process:
    parent: int
    session: int


def _kill(ancestors: Iterable[int]) -> None:
    killed: Set[int] = set()
    family = set(ancestors)
    # One that has been sent SIGKILL starts no more; but what it started before may have come late.
    while True:
        processes = _processes()
        more = family
        while more:
            more = {
                pid
                for pid, found in processes.items()
                if found.parent in family and pid not in family
            }
            family |= more
        found = (family - set(ancestors) - killed) & processes.keys()
        if not found:
            return
        _send_kill(found)
        killed |= found


def _send_kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _processes() -> Dict[int, _Process]:
    """Return the processes that have not ended, by their numbers."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        if fields[0] not in "ZX":
            found[int(folder.name)] = _Process(parent=int(fields[1]), session=int(fields[3]))
    return found
