"""The command of every pilot, for every launcher: a module, and a file with its order."""

import shlex
import sys
from pathlib import Path

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.pilots.order import PilotOrder

MODULE = "wconv_sweep.pilots.pilot"


def pilot_command(order: Path) -> str:
    """Return the command of a pilot's agent, as shell text."""
    return shlex.join([sys.executable, "-u", "-m", MODULE, str(order)])


def write_order(order: PilotOrder, path: Path) -> None:
    """Write an order atomically: of two launches, a pilot may read one while the other writes."""
    replace_file(path, order.model_dump_json(indent=2) + "\n")
