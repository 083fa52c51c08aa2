"""What the process of a rank does before it trains.

Importing this module does not import torch: an agent does that, to start a rank; the process is
forked from the fork server, which has torch loaded.
"""

import faulthandler
import os
from collections.abc import Callable, Mapping
from pathlib import Path


def run(
    variables: Mapping[str, str],
    log_folder: Path,
    entry: Callable[[Path, bytes], None],
    address: Path,
    order_json: bytes,
) -> None:
    """Be a rank.

    Args:
        variables: of the environment, which say which rank it is.
        log_folder: gets what it prints.
        entry: called with the rest.
        address: path of the node's Unix socket.
        order_json: a `NodeOrder`.
    """
    os.environ |= variables
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
