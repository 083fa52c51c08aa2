"""Programs that nobody wrote for this: studies of 8 trials on 2 ranks, each killed three times.

    python -m tests.benchmarks.public_programs [NAME ...]

Prints, for each: the lines that were added, how the study ended, what was reported twice, and
whether the trial of plain convolution has the numbers of one that nobody killed. Takes some
minutes each.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.benchmarks.public_program_texts import PROGRAMS, PublicProgram, added
from tests.jobs.trials import is_alive

TRIALS, RANKS = 8, 2
KILLS = ("a rank's program", "the agent", "the agent")
"""What kill -9 hits when a quarter, a half and three quarters of the epochs are reported."""
DEADLINE_S = 3600
START_S = 60
"""Time that a pilot may take to start, seconds."""
ONE_LANE = Path(__file__).parents[1] / "sweep" / "one_lane"
_EPOCH = re.compile(r" epoch received trial=(\d+) .*? epoch=(\d+)")


class Study:
    """A study in a folder of its own."""

    def __init__(self, program: PublicProgram, folder: Path, trials: int) -> None:
        self._folder, self._program, self._trials = folder, program, trials
        (folder / "train.py").write_text(program.text, "utf-8")
        _write_text(folder / "data")
        definition = {
            "schema": 1,
            "study": "public",
            "kernel_size": 3,
            "code": ".",
            "trainer": {"program": "train.py", "reports": program.epochs},
            "objective": {"metric": program.metric, "goal": "minimize"},
            "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}},
            "budget": {"trials": trials, "max_attempts": 5},
            "trial": {"ranks": RANKS},
        }
        (folder / "public.yaml").write_text(yaml.safe_dump(definition), "utf-8")

    def run(self, *arguments: str) -> str:
        """Run a command of wconv-sweep to its end; return what it printed."""
        return subprocess.run(
            [sys.executable, "-m", "wconv_sweep", *arguments],
            cwd=self._folder,
            env=os.environ | {"XDG_CONFIG_HOME": str(ONE_LANE), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def launch(self) -> None:
        """Start or continue it in the background."""
        self.run("launch", "--cluster", "local", "--study", "public.yaml", "--detach")

    def reported(self) -> Counter[tuple[int, int]]:
        """Return how often the agents received each epoch of each trial."""
        lines = (
            line
            for log in self._folder.glob("wconv_runs/public/pilots/*_log.err")
            for line in log.read_text("utf-8").splitlines()
        )
        found = (_EPOCH.search(line) for line in lines)
        return Counter((int(each[1]), int(each[2])) for each in found if each)

    def await_epochs(self, number: int) -> None:
        """Wait until so many epochs are reported.

        Raises:
            RuntimeError: no pilot has been there for a while.
        """
        seen_s = time.monotonic()
        while len(self.reported()) < number:
            if self.processes("wconv_sweep"):
                seen_s = time.monotonic()
            if time.monotonic() > seen_s + START_S:
                raise RuntimeError(self.run("status", "--study", "public"))
            time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        """Return its status."""
        (status,) = json.loads(self.run("status", "--study", "public", "--json"))
        assert isinstance(status, dict)
        return status

    def processes(self, pattern: str) -> list[int]:
        """Return its processes whose command line holds a pattern."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    command = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
                    inside = self._folder in (folder / "cwd").resolve().parents
                    inside |= self._folder == (folder / "cwd").resolve()
                except OSError:
                    continue
                if inside and pattern in command:
                    found.append(int(folder.name))
        return sorted(found)

    def kill(self, what: str) -> None:
        """Kill the agent, and go on once all have gone; or the program of the last rank."""
        if what == "the agent":
            family = self.processes("python")
            os.kill(self.processes("wconv_sweep.pilots.pilot")[0], signal.SIGKILL)
            await_(lambda: not any(map(is_alive, family)))
            self.launch()
        else:
            await_(lambda: len(self.processes("train.py")) >= RANKS)
            os.kill(self.processes("train.py")[-1], signal.SIGKILL)

    def plain(self) -> dict[str, float]:
        """Return the metrics of plain convolution, times left out."""
        (entry,) = json.loads(self.run("export", "--format", "json"))
        metrics: dict[str, float] = entry["plain"]["metrics"]
        return {name: metrics[name] for name in metrics if not name.endswith(("_s", "second"))}


def await_(reached: Callable[[], bool]) -> None:
    """Wait until something is reached."""
    end = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)


def killed(program: PublicProgram, folder: Path) -> Study:
    """Run a study to its end and kill it on the way."""
    study = Study(program, folder, TRIALS)
    study.launch()
    for number, what in enumerate(KILLS, start=1):
        # In the middle of a trial.
        study.await_epochs(TRIALS * program.epochs * number // (len(KILLS) + 1) + 2)
        study.kill(what)
    study.await_epochs(TRIALS * program.epochs)
    await_(lambda: not study.processes("wconv_sweep.pilots.pilot"))
    return study


def undisturbed(program: PublicProgram, folder: Path) -> Study:
    """Run the trial of plain convolution alone."""
    study = Study(program, folder, 1)
    study.run("launch", "--cluster", "local", "--study", "public.yaml")
    return study


def main() -> None:
    """Run the programs, and print a row of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", choices=[*PROGRAMS, []])
    names = parser.parse_args().name or list(PROGRAMS)
    print("| program | lines | complete | attempts | epochs | reported twice | as undisturbed |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        program = PROGRAMS[name]
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            study = killed(program, Path(first).resolve())
            status, reported = study.status(), study.reported()
            attempts = len(list(Path(first).glob("wconv_runs/public/trial_*/attempt_*")))
            same = study.plain() == undisturbed(program, Path(second).resolve()).plain()
        print(
            f"| {name} | {added(program.text)} | {status['slots']['complete']} of {TRIALS} "
            f"| {attempts} | {len(reported)} of {TRIALS * program.epochs} "
            f"| {sum(reported.values()) - len(reported)} | {'yes' if same else 'no'} |",
            flush=True,
        )


def _write_text(folder: Path) -> None:
    """Write a text of random words, where the demo of Lightning would download one."""
    folder.mkdir()
    words = np.random.default_rng(0).integers(0, 50, 35 * 33 * 8)
    (folder / "wikitext-2.txt").write_text(" ".join(f"w{word}" for word in words), "utf-8")


if __name__ == "__main__":
    main()
