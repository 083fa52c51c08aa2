"""Time from a launch to the first training step, what pilots waste, and what many of them cost.

    python -m tests.benchmarks.slurm_launch [--launches N] [--rounds N]

Starts the test cluster and a PostgreSQL server on this machine, launches a small study on one
pilot with one GPU (there need not be any), and reads times off the agent's log and accounting.
Everything on the way is real but the network: on a site, add the wait in the queue and the time
that its file system takes to load torch. The share of the allocation that goes to training rises
with the length of an epoch, which is about a tenth of a second here.

Then it takes the times of commands for one pilot and for many that wait in the queue.
"""

import argparse
import datetime
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tests.slurm import machine
from tests.slurm.box import SlurmBox, slurm_box
from tests.slurm.processes import wait_until
from tests.slurm.studies import ClusterStudy
from tests.slurm.sweeping import SlurmSweep
from tests.sweep.postgres import OwnServer
from tests.sweep.tiny import TINY

TRIALS, EPOCHS = 4, 40
PILOTS = (1, 240)
PROGRAMS = ("sbatch", "scancel", "squeue", "scontrol", "sacct", "sacctmgr")
_EVENT = re.compile(r"^(\S+ \S+) INFO \S+ \S+ (pilot started|trial started|epoch received)(.*)$")


@dataclass(frozen=True)
class Launch:
    """What one launch took, seconds."""

    returned_s: float
    """Until the command returned."""
    job_s: float
    """Until the job had started, by accounting, which rounds down to seconds."""
    agent_s: float
    """Until the agent had begun its record in the storage."""
    step_s: float
    """Until the first training step of the first trial."""
    training_s: float
    """Epochs, validation included, of all trials."""
    allocation_s: float
    """Of the job, by accounting."""

    @property
    def share(self) -> float:
        """Share of the allocation in which a trial was being trained."""
        return self.training_s / self.allocation_s

    @property
    def around_trial_s(self) -> float:
        """Time of the allocation outside training, per trial."""
        return (self.allocation_s - self.training_s) / TRIALS


@dataclass(frozen=True)
class Call:
    """What one of our commands took."""

    command: str
    asked: int
    """Commands of SLURM."""
    slurm_s: float
    """Time in which at least one of them ran, seconds."""
    own_s: float
    """The rest, seconds."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Launch a few times and print medians."""
    parser = argparse.ArgumentParser(description="From a launch to the first training step.")
    parser.add_argument("--launches", type=int, default=3, help="repetitions, about 40 s each")
    parser.add_argument("--rounds", type=int, default=5, help="with many pilots, about 20 s each")
    options = parser.parse_args(arguments)
    reason = machine.missing()
    if reason:
        print(f"skipped, no SLURM cluster here: {reason}")
        return
    server = OwnServer()
    try:
        with slurm_box() as box:
            found = [_measure(box, server) for _ in range(options.launches)]
            calls = {
                pilots: [_calls(box, server, pilots) for _ in range(options.rounds)]
                for pilots in PILOTS
            }
    finally:
        server.remove()
    if found:
        _print_launches(found)
    if options.rounds:
        _print_calls(calls)


def _print_launches(found: Sequence[Launch]) -> None:
    print(f"{len(found)} launches of {TRIALS} trials of {EPOCHS} epochs, medians\n")
    rows = {
        "launch returns after": [launch.returned_s for launch in found],
        "job starts after": [launch.job_s for launch in found],
        "agent is at work after": [launch.agent_s for launch in found],
        "first training step after": [launch.step_s for launch in found],
        "training, all trials": [launch.training_s for launch in found],
        "allocation": [launch.allocation_s for launch in found],
        "allocation outside training, per trial": [launch.around_trial_s for launch in found],
    }
    for name, seconds in rows.items():
        print(f"{name:40} {statistics.median(seconds):6.1f} s")
    share = statistics.median(launch.share for launch in found)
    print(f"{'share of the allocation spent training':40} {100 * share:6.1f} %")


def _print_calls(calls: Mapping[int, Sequence[Sequence[Call]]]) -> None:
    print(f"\n{'pilots, command':24} {'commands of SLURM':>18} {'SLURM':>8} {'ours':>8}")
    for pilots, rounds in calls.items():
        for same in zip(*rounds, strict=True):
            slurm_s = statistics.median(call.slurm_s for call in same)
            own_s = statistics.median(call.own_s for call in same)
            name = f"{pilots}, {same[0].command}"
            print(f"{name:24} {same[0].asked:18} {slurm_s:6.2f} s {own_s:6.2f} s")


def _measure(box: SlurmBox, server: OwnServer) -> Launch:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        study = stack.enter_context(closing(ClusterStudy(Path(folder), box, server)))
        study.profile(gpus_used_per_node=1)
        study.study(
            recipe=TINY["recipe"] | {"epochs": EPOCHS},
            data={"name": "photographs", "options": {"crop_px": 32, "crops_per_epoch": 128}},
            budget={"trials": TRIALS},
        )
        began = time.time()
        study.launch()
        returned_s = time.time() - began
        study.await_end(within_s=900)
        events = list(_events(study.logs()))
        job = study.attempts()[0].owner.split("/")[0].removeprefix("slurm-")
        wait_until(lambda: box.states(job) == ["COMPLETED"], "accounting has heard of the end")
        elapsed = ("sacct", "--allocations", "--noheader", f"--jobs={job}", "--format=ElapsedRaw")
        started = ("sacct", "--allocations", "--noheader", f"--jobs={job}", "--format=Start")
        job_began = datetime.datetime.fromisoformat(box.run(*started).strip()).timestamp()
        agent_began = next(at for at, name, _ in events if name == "pilot started")
        epochs = [(at, _epoch_s(facts)) for at, name, facts in events if name == "epoch received"]
        first_at, first_s = epochs[0]
        launch = Launch(
            returned_s=returned_s,
            job_s=job_began - began,
            agent_s=agent_began - began,
            step_s=first_at - first_s - began,
            training_s=sum(seconds for _, seconds in epochs),
            allocation_s=float(box.run(*elapsed)),
        )
    box.reset()
    return launch


def _calls(box: SlurmBox, server: OwnServer, pilots: int) -> list[Call]:
    """Launch pilots that wait for their nodes, launch again, look at them and stop them."""
    box.submit("--nodes=2", "--exclusive", script="exec sleep 600")
    wait_until(lambda: [job.state for job in box.queue()] == ["RUNNING"], "no node is free")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sweep = stack.enter_context(closing(SlurmSweep(folder, box, server)))
        sweep.profile(gpus_used_per_node=1, max_array_size=100)
        sweep.study(budget={"trials": 400})
        sweep.variables(PATH=_timed_programs(folder / "programs", folder / "times"))
        launch = ("launch", "--cluster=box.yaml", "--study=tiny.yaml", f"--pilots={pilots}")
        commands = {
            "launch": launch,
            "launch again": launch,
            "status": ("status", "--study=tiny"),
            "stop --now": ("stop", "--study=tiny", "--now"),
        }
        found = [
            _call(sweep, folder / "times", name, arguments) for name, arguments in commands.items()
        ]
    box.reset()
    return found


def _call(sweep: SlurmSweep, times: Path, name: str, arguments: Sequence[str]) -> Call:
    times.write_text("", "utf-8")
    began = time.monotonic()
    sweep.run(*arguments)
    took_s = time.monotonic() - began
    spans = [tuple(map(float, line.split())) for line in times.read_text("utf-8").splitlines()]
    slurm_s = until = 0.0
    for start, end in sorted(spans):
        # Some run side by side.
        slurm_s += max(0.0, end - max(start, until))
        until = max(until, end)
    return Call(name, len(spans), slurm_s, took_s - slurm_s)


def _timed_programs(folder: Path, times: Path) -> str:
    """Return a PATH on which SLURM's programs note from when to when they run."""
    folder.mkdir()
    for program in PROGRAMS:
        script = folder / program
        script.write_text(
            f'#!/bin/bash\nbegan=$EPOCHREALTIME\n{machine.find(program)} "$@"\nstatus=$?\n'
            f'echo "$began $EPOCHREALTIME" >> {times}\nexit $status\n',
            "utf-8",
        )
        script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def _events(log: str) -> Iterator[tuple[float, str, str]]:
    """Yield time (seconds since 1970), name and facts of what an agent has logged."""
    for line in log.splitlines():
        found = _EVENT.match(line)
        if found is not None:
            at = datetime.datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")
            yield at.timestamp(), found[2], found[3]


def _epoch_s(facts: str) -> float:
    found = re.search(r"epoch_s=(\S+)", facts)
    assert found is not None, facts
    return float(found[1])


if __name__ == "__main__":
    main()
