"""Time and CPU time of the quickstart's study, as a ratio to those of an earlier installation.

    python -m tests.benchmarks.quickstart --before PATH [--rounds N]

`--before` is the wconv-sweep command of the other installation, e.g. of commit 98ec1ee. In each
round each of them trains the study that it ships, as `make quickstart` does, in drawn order. The
ratios are medians over the rounds, with the lowest and the highest.
"""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.commands import timed

STUDY = ("launch", "--cluster=local", "--study=quickstart")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both in turns and print a Markdown table."""
    parser = argparse.ArgumentParser(description="The quickstart's study, before and now.")
    parser.add_argument("--before", required=True, help="the command of the other installation")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    programs = {"before": given.before, "now": str(Path(sys.executable).with_name("wconv-sweep"))}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(given.rounds):
        for name in random.sample(list(programs), len(programs)):
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(timed([[programs[name], *STUDY]], Path(folder)))
    print("| | before | now | ratio |\n|---|---|---|---|")
    for index, what in enumerate(("wall time, s", "CPU time, s")):
        before, now = ([run[index] for run in found[name]] for name in ("before", "now"))
        ratios = sorted(new / old for new, old in zip(now, before, strict=True))
        medians = f"{statistics.median(before):.0f} | {statistics.median(now):.0f}"
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {what} | {medians} | {spread} |")


if __name__ == "__main__":
    main()
