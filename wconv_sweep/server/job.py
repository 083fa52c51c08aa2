"""`python -m wconv_sweep.server.job FOLDER REQUEST`: a personal PostgreSQL as a job of SLURM.

The server listens on the node that the job got. It shuts down properly when the job is
cancelled or nears its time limit, so that the next job on the same data starts at once.
"""

import json
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from wconv_sweep.errors import WconvSweepError
from wconv_sweep.server.folder import ServerFolder
from wconv_sweep.server.run import start, stop
from wconv_sweep.server.run_as import owner_for, run_as
from wconv_sweep.server.slurm import ServerRequest
from wconv_sweep.server.successor import Successor

LOOK_S = 2.0
"""Time between two checks that the server still runs, seconds."""
SETTLED_S = 600.0
"""A server that ends by itself earlier than this would do so in each following job, seconds."""


_OLDER = {"options": {}, "walltime_min": 1, "once": True}


def serve(path: Path, request: ServerRequest) -> None:
    """Run the server of a folder until this process is asked to end, or the server has ended.

    Args:
        path: the folder, owned by the user that the server runs as.
        request: of this job and of those that follow it.

    Raises:
        StorageError: it does not start, or has ended by itself.
    """
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    address = os.environ.get("SLURMD_NODENAME", platform.node())
    owner = owner_for(path)

    def begin() -> dict[str, object]:
        # SLURM runs one job of this name: an earlier user of the data is gone.
        return asdict(start(path, address, force=True, say=_say))

    started = run_as(owner, begin)
    for line in started["warnings"]:
        _say(f"warning: {line}")
    _say(f"PostgreSQL {started['version']} runs on {started['address']}, port {started['port']}")
    successor = Successor(path, request, os.environ["SLURM_JOB_ID"], _say)
    began_s = time.monotonic()
    successor.keep()
    while not asked.wait(LOOK_S):
        successor.keep()
        if ServerFolder(path).postmaster() is None:
            if time.monotonic() - began_s < SETTLED_S:
                successor.withdraw()
            sys.exit(f"{path}: the server has ended unexpectedly. See its log in {path / 'log'}")
    run_as(owner, lambda: stop(path))
    _say("stopped")


def _say(line: str) -> None:
    print(f"wconv-sweep: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        # A job that an older version has submitted names no request: none goes on after it.
        asked = json.loads(sys.argv[2]) if len(sys.argv) > 2 else _OLDER
        serve(Path(sys.argv[1]), ServerRequest(**asked))
    except WconvSweepError as error:
        sys.exit(f"wconv-sweep: {error}")
