"""What a trial takes beside its steps: our own trainer's, and a program's with the same steps.

    nice -n -20 python -m tests.benchmarks.program_overhead [--rounds N]

In each round an agent trains a trial of each kind, of one step each, so that nearly all of its
time is the start, the reports, the scores and the end; the order is drawn. The program is that of
tests/same_steps. It is forked from a process with torch loaded, and from one that has all that it
imports, as our own ranks are; and it is started in an interpreter of its own. The first trials,
which load torch, do not count. Wall time is from the call that starts the ranks to its return. CPU
time is that of this process and all that come from it: it counts also where other programs keep
the cores busy. There, wall times say little: a program has a session of its own, among which Linux
shares the cores before it looks at priorities (autogroups, sched(7)).
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.jobs.trials import Recorder, denoising, processes
from wconv_jobs.messages import Demand, Finished
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import run_ranks
from wconv_jobs.seeding import derive_seed
from wconv_jobs.spec import TrialSpec

OURS, FORKED, STARTED = "our own trainer", "program, forked", "program, new interpreter"
LOADED = "program, forked with what it imports"
PRELOAD = {
    FORKED: ("torch",),
    LOADED: (
        "torch",
        "wconv_jobs.data.photographs",
        "wconv_jobs.models.dncnn",
        "wconv_jobs.training.initialization",
    ),
}
CODE = Path(__file__).parents[1] / "same_steps"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train trials of all kinds in turns and print a Markdown table."""
    parser = argparse.ArgumentParser(description="The time of a trial beside its steps.")
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args(arguments)
    found: dict[str, list[tuple[float, float]]] = {
        kind: [] for kind in (OURS, LOADED, FORKED, STARTED)
    }
    for number in range(given.rounds + 1):
        for kind in random.sample(list(found), len(found)):
            with tempfile.TemporaryDirectory() as folder:
                taken = _seconds(kind, Path(folder))
            if number:
                found[kind].append(taken)
    print("| | time | trial, s, median | lowest to highest | ratio to ours |")
    print("|---|---|---|---|---|")
    for part, name in enumerate(("wall", "CPU")):
        ours_s = statistics.median(each[part] for each in found[OURS])
        for kind, taken_s in found.items():
            times_s = [each[part] for each in taken_s]
            middle_s = statistics.median(times_s)
            spread = f"{min(times_s):.2f} to {max(times_s):.2f}"
            print(f"| {kind} | {name} | {middle_s:.2f} | {spread} | {middle_s / ours_s:.2f} |")


def _seconds(kind: str, folder: Path) -> tuple[float, float]:
    """Train a trial, and return wall time and CPU time."""
    ours = denoising(folder, norm="none", crops_per_epoch=4, epochs=1)
    seed = derive_seed(ours.study_seed, ours.replicate)
    program = ProgramTrial(
        command=(sys.executable, "train.py"),
        preload=PRELOAD.get(kind, ()),
        env={},
        options={"depth": 3, "width": 2, "crop_px": 12, "crops": 4, "batch": 4, "epochs": 1},
        metric="psnr_db",
        reports=1,
        density=ours.density,
        seed=seed,
        checkpoint_folder=folder,
        code_folder=CODE,
    )
    trial: TrialSpec | ProgramTrial = ours if kind == OURS else program
    began_s, cpu_s = time.monotonic(), _cpu_s()
    ended = run_ranks(
        trial,
        placement=Placement(1),
        log_folder=folder / "attempt",
        on_report=Recorder(),
        on_tick=lambda: Demand.GO,
    )
    assert isinstance(ended, Finished), ended
    return time.monotonic() - began_s, _cpu_s() - cpu_s


def _cpu_s() -> float:
    """Return the CPU time of this process, of what runs below it, and of what these have ended."""
    below, ticks = {os.getpid()}, 0
    for process in sorted(processes(), key=lambda each: each.started):
        if process.parent in below:
            below.add(process.pid)
    for pid in below:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
