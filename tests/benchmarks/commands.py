"""Commands of an installation run to their end, with all that they start, and what they took."""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def timed(commands: Sequence[Sequence[str]], folder: Path) -> tuple[float, float]:
    """Run commands at once; return wall time and CPU time of all their processes, seconds.

    Pilots outlive their launch: this process inherits them, and with them their CPU time.

    Args:
        commands: with their arguments.
        folder: they run in it; gets their output.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        processes = [
            # No profiles of the user's: that of this machine has a lane for each core.
            subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | {"XDG_CONFIG_HOME": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            for command in commands
        ]
        statuses = [process.wait() for process in processes]
    wall_s = time.monotonic() - began
    if any(statuses):
        sys.exit((folder / "output.txt").read_text())
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
