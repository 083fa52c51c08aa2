"""Removes what a test cluster leaves behind when the tests that it belongs to are killed.

`python -m tests.slurm.keeper FOLDER PORT` waits for the end of its standard input, whose other end
is the tests'. Daemons die with the tests by themselves.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm import machine
from tests.slurm.processes import job_processes, kill
from tests.slurm.site import Site

_ROOT = Path(__file__).parents[2]


@contextmanager
def kept(site: Site) -> Iterator[None]:
    """Let nothing of a cluster outlive this process, however it ends."""
    command = [sys.executable, "-m", __name__, str(site.folder), str(site.base_port)]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, start_new_session=True
    ) as keeper:
        assert keeper.stdin is not None
        with keeper.stdin:
            yield


def main(folder: Path, base_port: int) -> None:
    """Wait for the end of the tests, and remove what is left of a cluster."""
    sys.stdin.read()
    site = Site(folder=folder, base_port=base_port, named_hosts=False)
    while processes := job_processes(site):
        kill(processes)
    machine.forget_names(base_port)
    while folder.exists():
        # The last daemons may still be about to end.
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
