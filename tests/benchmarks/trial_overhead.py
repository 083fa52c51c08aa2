"""Trials per hour beside two plain Optuna workers, and where the time of a pilot goes.

    python -m tests.benchmarks.trial_overhead [--rounds N] [--trials N] [--steps N]
        [--before PATH] [--beside PATH]

In each round each program trains the same number of trials of the same steps on this machine, two
at a time and on one thread each; the order is drawn. Ours is `wconv-sweep launch --cluster local`
with two lanes, which also scores three metrics and a test image; the other is
`plain_optuna_worker.py`, twice on SQLite. `--before` is the wconv-sweep command of an installation
of commit 98ec1ee, which is then measured, too, with two pilots of one lane; `--beside` is that of
any other that reads the same studies. Ratios are medians over the rounds, with the lowest and the
highest; parts of the lanes' time are means, see `pilot_profile`. CPU time is that of all
processes: it counts also where other programs keep the cores busy.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml

from tests.benchmarks.commands import timed
from tests.benchmarks.pilot_profile import PARTS, parts_of, trials_of
from tests.benchmarks.plain_optuna_worker import STUDY

PLAIN, OURS, BEFORE = "two plain Optuna workers", "wconv-sweep", "wconv-sweep, commit 98ec1ee"
BESIDE = "wconv-sweep, the other installation"
BATCH, WORKERS = 8, 2


@dataclass(frozen=True)
class Run:
    """What a program took for its trials."""

    trials: int
    wall_s: float
    cpu_s: float
    first_step_s: float = 0.0
    """From the start of the command to the first step."""
    step_share: float = 0.0
    """Share of the lanes' time, from the first step to the last end, that was epochs: steps, and
    the validation after them."""
    beside_s: float = 0.0
    """Of a trial from its start to its end, beside its epoch; median."""
    parts: dict[str, float] = field(default_factory=dict)
    """See `pilot_profile.parts_of`."""
    end_s: float = 0.0
    """From the end of the last trial to that of the command."""

    @property
    def per_hour(self) -> float:
        """Trials per hour."""
        return 3600 * self.trials / self.wall_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all programs in turns and print Markdown tables."""
    parser = argparse.ArgumentParser(description="Trials per hour, and the time beside steps.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--before", help="the command of commit 98ec1ee")
    parser.add_argument("--beside", help="the command of another installation")
    given = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    own = str(Path(sys.executable).with_name("wconv-sweep"))
    trials, steps = given.trials, given.steps
    programs: dict[str, Callable[[Path], Run]] = {
        PLAIN: lambda folder: plain(folder, trials, steps),
        OURS: lambda folder: ours([own], study(trials, steps), folder),
    }
    if given.before:
        command = [given.before, f"--pilots={WORKERS}"]
        programs[BEFORE] = lambda folder: ours(command, study_before(trials, steps), folder)
    if given.beside:
        programs[BESIDE] = lambda folder: ours([given.beside], study(trials, steps), folder)
    found: dict[str, list[Run]] = {name: [] for name in programs}
    for _ in range(given.rounds):
        for name in random.sample(list(programs), len(programs)):
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(programs[name](Path(folder)))
    _print(found)


def plain(folder: Path, trials: int, steps: int) -> Run:
    """Let plain Optuna workers train the trials."""
    storage = f"sqlite:///{folder / 'plain.db'}"
    worker = str(Path(__file__).with_name("plain_optuna_worker.py"))
    command = [sys.executable, worker, storage, str(trials), str(steps)]
    # Beforehand: of two workers that make the tables of a new database at once, one fails.
    search = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    wall_s, cpu_s = timed([command] * WORKERS, folder)
    return Run(len(search.trials), wall_s, cpu_s)  # more than asked for: each ends its own


def ours(command: Sequence[str], definition: dict[str, Any], folder: Path) -> Run:
    """Let a wconv-sweep command, with further options, train the trials of a study."""
    (folder / "study.yaml").write_text(yaml.safe_dump(definition), "utf-8")
    program, *options = command
    command = [program, "launch", "--cluster=local", "--study=study.yaml", *options]
    began = time.time()
    wall_s, cpu_s = timed([command], folder)
    trials = trials_of(folder)
    first = min(trial.stepped for trial in trials.values())
    last = max(trial.ended for trial in trials.values())
    training_s = sum(trial.epoch_s for trial in trials.values())
    return Run(
        trials=len(trials),
        wall_s=wall_s,
        cpu_s=cpu_s,
        first_step_s=first - began,
        step_share=training_s / WORKERS / (last - first),
        beside_s=statistics.median(
            trial.ended - trial.started - trial.epoch_s for trial in trials.values()
        ),
        parts=parts_of(trials),
        end_s=began + wall_s - last,
    )


def study(trials: int, steps: int) -> dict[str, Any]:
    """Return the definition of the study."""
    return {
        "schema": 1,
        "study": "overhead",
        "kernel_size": 3,
        "model": {"name": "dncnn", "options": {"depth": 5, "width": 16, "norm": "none"}},
        "data": {"name": "photographs", "options": {"crops_per_epoch": BATCH * steps}},
        "recipe": {
            "optimizer": {"name": "adam", "lr": 3e-3},
            "epochs": 1,
            "batch_size": BATCH,
            "init": "pytorch",
        },
        "objective": {"metric": "psnr_db"},
        "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "tpe"}},
        "budget": {"trials": trials},
        "trial": {"ranks": 1},
    }


def study_before(trials: int, steps: int) -> dict[str, Any]:
    """Return the definition of the study as commit 98ec1ee read it."""
    definition = study(trials, steps)
    definition["recipe"]["batch"] = definition["recipe"].pop("batch_size")
    return definition


def _print(found: dict[str, list[Run]]) -> None:
    print("| | trials | wall time, s | CPU time per trial, s |\n|---|---|---|---|")
    for name, runs in found.items():
        wall_s = statistics.median(run.wall_s for run in runs)
        cpu_s = statistics.median(run.cpu_s / run.trials for run in runs)
        print(f"| {name} | {runs[0].trials} | {wall_s:.1f} | {cpu_s:.2f} |")
    print("\n| wconv-sweep beside | what | ratio |\n|---|---|---|")
    for name in [name for name in found if name != OURS]:
        _ratio(found, name, "trials per hour", lambda run: run.per_hour)
        _ratio(found, name, "CPU time per trial", lambda run: run.cpu_s / run.trials)
        if name != PLAIN:
            _ratio(found, name, "command to first step", lambda run: run.first_step_s)
            _ratio(found, name, "trial beside its epoch", lambda run: run.beside_s)
    print("\n| | to first step, s | beside the epoch, s | epochs, share of the lanes' time |")
    print("|---|---|---|---|")
    for name in [name for name in found if name != PLAIN]:
        first_s, beside_s, share = (
            statistics.median(getattr(run, fact) for run in found[name])
            for fact in ("first_step_s", "beside_s", "step_share")
        )
        print(f"| {name} | {first_s:.1f} | {beside_s:.2f} | {100 * share:.0f} % |")
    _print_parts({name: runs for name, runs in found.items() if name != PLAIN})


def _print_parts(found: dict[str, list[Run]]) -> None:
    """Print where the time of the commands and of their lanes goes."""
    print(f"\n| seconds | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
    means = [
        {
            "command to first step": statistics.fmean(run.first_step_s for run in runs),
            **{
                f"lanes: {part}": statistics.fmean(run.parts[part] for run in runs)
                for part in PARTS
            },
            "last trial to end of command": statistics.fmean(run.end_s for run in runs),
        }
        for runs in found.values()
    ]
    for part in means[0]:
        print(f"| {part} | {' | '.join(f'{mean[part]:.1f}' for mean in means)} |")


def _ratio(
    found: dict[str, list[Run]], other: str, what: str, fact: Callable[[Run], float]
) -> None:
    pairs = zip(found[OURS], found[other], strict=True)
    ratios = sorted(fact(run) / fact(beside) for run, beside in pairs)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"| {other} | {what} | {statistics.median(ratios):.2f} ({spread}) |")


if __name__ == "__main__":
    main()
