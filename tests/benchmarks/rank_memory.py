"""Memory of a trial's ranks beyond an interpreter with torch, beside that of commit 98ec1ee.

    python -m tests.benchmarks.rank_memory --before PATH [--rounds N] [--steps N]

`--before` is the wconv-sweep command of an installation of that commit. In each round each of them
trains one trial of the quickstart's network with one rank and one with two, in drawn order.

Measured is what is in memory for the ranks alone: anonymous pages of the ranks and of the process
that they are forked from, each page shared among those that have it (Pss_Anon of proc(5), which
files that other programs have mapped, too, do not change), less those of a process that has only
imported torch. Samples are taken five times a second while there are ranks. Their median is that
of the training steps, which take most of the time; the highest is that of the test image, whose
metrics are computed in float64.
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.trial_overhead import study, study_before

SAMPLE_S = 0.2
RANKS = (1, 2)
_TORCH = "import torch; print(open('/proc/self/smaps_rollup').read())"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both in turns and print a Markdown table."""
    parser = argparse.ArgumentParser(description="Memory of a trial's ranks, before and now.")
    parser.add_argument("--before", required=True, help="the command of commit 98ec1ee")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args(arguments)
    programs = {
        "before": (given.before, study_before(1, given.steps)),
        "now": (str(Path(sys.executable).with_name("wconv-sweep")), study(1, given.steps)),
    }
    turns = [(name, ranks) for name in programs for ranks in RANKS]
    found: dict[tuple[str, int], list[list[float]]] = {turn: [] for turn in turns}
    for _ in range(given.rounds):
        for name, ranks in random.sample(turns, len(turns)):
            command, definition = programs[name]
            torch = torch_mb()
            samples = ranks_mb(command, definition | {"trial": {"ranks": ranks}})
            found[name, ranks].append([sample - torch for sample in samples])
    print("| ranks | | before, MB | now, MB | ratio |\n|---|---|---|---|---|")
    for ranks in RANKS:
        for what, of in (("training", statistics.median), ("at most", max)):
            before, now = ([of(run) for run in found[name, ranks]] for name in programs)
            ratios = sorted(new / old for new, old in zip(now, before, strict=True))
            medians = f"{statistics.median(before):.0f} | {statistics.median(now):.0f}"
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"| {ranks} | {what} | {medians} | {spread} |")


def ranks_mb(command: str, definition: dict[str, Any]) -> list[float]:
    """Return samples of what the ranks of a study on this machine had in memory, MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.yaml").write_text(yaml.safe_dump(definition), "utf-8")
        samples = []
        with subprocess.Popen(
            [command, "launch", "--cluster=local", "--study=study.yaml"],
            cwd=folder,
            env=os.environ | {"XDG_CONFIG_HOME": name, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        ) as launched:
            while launched.poll() is None or _forked(folder):
                processes = _forked(folder)
                if len(processes) > 1:
                    samples.append(sum(map(_anonymous_mb, processes)))
                time.sleep(SAMPLE_S)
        if launched.returncode:
            sys.exit(f"{command}: exit status {launched.returncode}")
    return samples


def torch_mb() -> float:
    """Return what a process that has imported torch has in memory, MB."""
    command = [sys.executable, "-c", _TORCH]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return _parsed_mb(text)


def _forked(folder: Path) -> list[Path]:
    """Return the ranks of a study, and the process that they are forked from."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            of_study = (process / "cwd").readlink() == folder
            if of_study and b"forkserver" in (process / "cmdline").read_bytes():
                found.append(process)
        except OSError:
            continue  # it has just ended
    return found


def _anonymous_mb(process: Path) -> float:
    try:
        return _parsed_mb((process / "smaps_rollup").read_text("utf-8"))
    except OSError:
        return 0.0  # it has just ended


def _parsed_mb(smaps_rollup: str) -> float:
    found = re.search(r"^Pss_Anon:\s+(\d+) kB$", smaps_rollup, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


if __name__ == "__main__":
    main()
