"""A process that trains a trial as an agent does:

    python -m tests.jobs.ranks.agent_double HOW FOLDER

HOW is "train", or "hang": never answer a report, so that rank 0 waits for the agent and rank 1
waits for rank 0 in a collective; "hang over nodes" has two more ranks on another node.
"""

import sys
import threading
from pathlib import Path

from tests.jobs.trials import classification
from wconv_jobs.messages import Demand, Report, Verdict
from wconv_jobs.ranks.placement import NodeCommand, Placement
from wconv_jobs.ranks.run import run_ranks


def main(how: str, folder: Path) -> None:
    """Print "reported" with each report, and the ending."""

    def on_report(_: Report) -> Verdict:
        print("reported", flush=True)
        if how.startswith("hang"):
            threading.Event().wait()
        return Verdict.CONTINUE

    several = Placement(4, other_nodes=(NodeCommand(("env",)),), address="127.0.0.1")
    result = run_ranks(
        classification(folder / "trial", epochs=1),
        placement=several if how == "hang over nodes" else Placement(2),
        log_folder=folder / "logs",
        on_report=on_report,
        on_tick=lambda: Demand.GO,
    )
    print(result.kind, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
