"""Trials per hour on SLURM beside hydra-submitit-launcher with the Optuna sweeper.

    python -m tests.benchmarks.slurm_against_hydra [--rounds N] [--trials N] [--steps N]

No part of `make bench`: the sweeper takes an Optuna of another major version, so that Hydra gets
a temporary environment, which needs the network. Starts the test cluster and a PostgreSQL server
on this machine. In each round both train the same number of trials of the same steps, two at a
time and on one thread each, in drawn order: ours on one pilot with two lanes, Hydra with a job for
each trial, two at once. Time runs from the command to the last result.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from tests.benchmarks.trial_overhead import WORKERS, study
from tests.slurm import machine
from tests.slurm.box import SlurmBox, slurm_box
from tests.slurm.processes import wait_until
from tests.slurm.studies import ClusterStudy
from tests.sweep.postgres import OwnServer

PACKAGES = ("hydra-core==1.3.8", "hydra-submitit-launcher==1.2.0", "hydra-optuna-sweeper==1.3.0")
HYDRA = "hydra-submitit-launcher, a job for each trial, two at a time"
OURS = "wconv-sweep, one pilot with two lanes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both in turns and print a Markdown table."""
    parser = argparse.ArgumentParser(description="Trials per hour on SLURM beside Hydra.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args(arguments)
    reason = machine.missing()
    if reason:
        print(f"skipped, no SLURM cluster here: {reason}")
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    trials, steps = given.trials, given.steps
    server = OwnServer()
    with ExitStack() as stack:
        stack.callback(server.remove)
        python = environment(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        box = stack.enter_context(slurm_box())
        programs: dict[str, Callable[[Path], float]] = {
            HYDRA: lambda folder: hydra_s(python, box, folder, trials, steps),
            OURS: lambda folder: ours_s(box, server, folder, trials, steps),
        }
        found: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(given.rounds):
            for name in random.sample(list(programs), len(programs)):
                with tempfile.TemporaryDirectory() as folder:
                    found[name].append(programs[name](Path(folder)))
                print(f"{name}: {found[name][-1]:.1f} s", file=sys.stderr)
                box.reset()
    _print(found, trials)


def environment(folder: Path) -> str:
    """Make an environment with Hydra, which borrows torch; return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    (own,) = (folder / "lib").glob("python3.*/site-packages")
    # Behind the environment's own packages: its Optuna comes first.
    borrowed = Path(torch.__file__).parents[1]
    (own / "zz_borrowed.pth").write_text(f"{borrowed}\n", "utf-8")
    return python


def hydra_s(python: str, box: SlurmBox, folder: Path, trials: int, steps: int) -> float:
    """Return the time that Hydra takes for the trials, seconds."""
    job = {
        "partition": "gpu",
        "account": box.site.account,
        "gres": "gpu:1",
        "cpus_per_task": 1,
        "mem_gb": 4,
        "timeout_min": 30,
    }
    command = [
        *(python, "-m", "tests.benchmarks.hydra_app", "--multirun"),
        *("hydra/sweeper=optuna", "hydra/launcher=submitit_slurm"),
        *(f"steps={steps}", "density=interval(0.5,1.5)"),
        *(f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.n_jobs={WORKERS}"),
        *("hydra.sweeper.direction=maximize", f"hydra.sweep.dir={folder / 'runs'}"),
        *(f"hydra.launcher.{key}={value}" for key, value in job.items()),
    ]
    # Jobs take it over, and unpickle a function of this module.
    variables = box.environment | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def train() -> None:
        ended = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        if ended.returncode or ended.stdout.count(" : density=") != trials:
            sys.exit(ended.stdout + ended.stderr)

    return _timed_s(train)


def ours_s(box: SlurmBox, server: OwnServer, folder: Path, trials: int, steps: int) -> float:
    """Return the time that one pilot takes for the trials, seconds."""
    with closing(ClusterStudy(folder, box, server)) as ours:
        ours.profile(gpus_used_per_node=WORKERS)
        ours.write_study(**study(trials, steps) | {"study": "tiny"})

        def train() -> None:
            ours.launch()
            wait_until(lambda: ours.read().complete, "the study is complete", within_s=3600)

        return _timed_s(train)


def _timed_s(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _print(found: dict[str, list[float]], trials: int) -> None:
    print("| | wall time, s | trials per hour |\n|---|---|---|")
    for name, times_s in found.items():
        wall_s = statistics.median(times_s)
        print(f"| {name} | {wall_s:.1f} | {3600 * trials / wall_s:.0f} |")
    ratios = sorted(hydra / own for hydra, own in zip(found[HYDRA], found[OURS], strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"\ntrials per hour, ratio: {statistics.median(ratios):.2f} ({spread})")


if __name__ == "__main__":
    main()
