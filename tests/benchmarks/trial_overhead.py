"""Trials per hour beside two plain Optuna workers, and what a trial takes beside its steps.

    python -m tests.benchmarks.trial_overhead [--rounds N] [--trials N] [--steps N] [--before PATH]

In each round each program trains the same number of trials of the same steps on this machine, two
at a time and on one thread each; the order is drawn. Ours is `wconv-sweep launch --cluster local`
with two lanes, which also scores three metrics and a test image; the other is
`plain_optuna_worker.py`, twice on SQLite. `--before` is the wconv-sweep command of an installation
of commit 98ec1ee, which is then measured, too, with two pilots of one lane. Ratios are medians
over the rounds, with the lowest and the highest. CPU time is that of all processes: it counts also
where other programs keep the cores busy.
"""

import argparse
import datetime
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from tests.benchmarks.commands import timed
from tests.benchmarks.plain_optuna_worker import STUDY

PLAIN, OURS, BEFORE = "two plain Optuna workers", "wconv-sweep", "wconv-sweep, commit 98ec1ee"
BATCH, WORKERS = 8, 2
_EVENT = re.compile(
    r"^(\S+ \S+) INFO \S+ \S+ (trial started|epoch received|trial complete) trial=(\d+)(.*)$"
)


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
    events = list(_events(folder))
    epochs = {
        trial: (at, _epoch_s(text)) for at, name, trial, text in events if name == "epoch received"
    }
    started = {trial: at for at, name, trial, _ in events if name == "trial started"}
    ended = {trial: at for at, name, trial, _ in events if name == "trial complete"}
    first = min(at - epoch_s for at, epoch_s in epochs.values())
    training_s = sum(epoch_s for _, epoch_s in epochs.values())
    beside_s = [ended[trial] - started[trial] - epochs[trial][1] for trial in epochs]
    return Run(
        trials=len(ended),
        wall_s=wall_s,
        cpu_s=cpu_s,
        first_step_s=first - began,
        step_share=training_s / WORKERS / (max(ended.values()) - first),
        beside_s=statistics.median(beside_s),
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


def _events(folder: Path) -> Iterator[tuple[float, str, int, str]]:
    """Yield time (seconds since 1970), name, trial and facts of what pilots have logged."""
    for log in folder.glob("wconv_runs/*/pilots/*_log.err"):
        for line in log.read_text("utf-8").splitlines():
            found = _EVENT.match(line)
            if found is not None:
                at = datetime.datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")
                yield at.timestamp(), found[2], int(found[3]), found[4]


def _epoch_s(facts: str) -> float:
    found = re.search(r"epoch_s=(\S+)", facts)
    assert found is not None, facts
    return float(found[1])


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


def _ratio(
    found: dict[str, list[Run]], other: str, what: str, fact: Callable[[Run], float]
) -> None:
    pairs = zip(found[OURS], found[other], strict=True)
    ratios = sorted(fact(run) / fact(beside) for run, beside in pairs)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"| {other} | {what} | {statistics.median(ratios):.2f} ({spread}) |")


if __name__ == "__main__":
    main()
