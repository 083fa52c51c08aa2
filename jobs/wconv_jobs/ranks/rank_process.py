"""What the process of a rank does before it trains.

Importing this module does not import torch: an agent does that, to start a rank; the process is
forked from the fork server, which has torch loaded.
"""

import faulthandler
import os
from collections.abc import Callable
from pathlib import Path


def run(
    local_rank: int,
    log_folder: Path,
    entry: Callable[[Path, bytes], None],
    address: Path,
    order_json: bytes,
) -> None:
    """Be a rank.

    Args:
        local_rank: number among the ranks of this node.
        log_folder: gets what it prints.
        entry: called with the rest.
        address: path of the node's Unix socket.
        order_json: a `NodeOrder`.
    """
    os.environ["LOCAL_RANK"] = str(local_rank)
    log_folder.mkdir(parents=True, exist_ok=True)
    for number, name in ((1, "stdout.log"), (2, "stderr.log")):
        with (log_folder / name).open("ab") as file:
            os.dup2(file.fileno(), number)
    faulthandler.enable()  # says where a process was that the kernel ends, e.g. by SIGSEGV
    entry(address, order_json)


def main(address: Path, order_json: bytes) -> None:
    """Train, see `wconv_jobs.ranks.rank.main`."""
    from wconv_jobs.ranks import rank

    rank.main(address, order_json)
