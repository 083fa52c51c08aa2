"""Time from a launch to the first training step on an idle cluster, and what pilots waste.

    python -m tests.benchmarks.slurm_launch [--launches N]

Starts the test cluster and a PostgreSQL server on this machine, launches a small study on one
pilot with one GPU (there need not be any), and reads times off the agent's log and accounting.
Everything on the way is real but the network: on a site, add the wait in the queue and the time
that its file system takes to load torch. The share of the allocation that goes to training rises
with the length of an epoch, which is about a tenth of a second here.
"""

import argparse
import datetime
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tests.slurm import machine
from tests.slurm.box import SlurmBox, slurm_box
from tests.slurm.processes import wait_until
from tests.slurm.studies import ClusterStudy
from tests.sweep.postgres import OwnServer
from tests.sweep.tiny import TINY

TRIALS, EPOCHS = 4, 40
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Launch a few times and print medians."""
    parser = argparse.ArgumentParser(description="From a launch to the first training step.")
    parser.add_argument("--launches", type=int, default=3, help="repetitions, about 40 s each")
    launches = parser.parse_args(arguments).launches
    reason = machine.missing()
    if reason:
        print(f"skipped, no SLURM cluster here: {reason}")
        return
    server = OwnServer()
    try:
        with slurm_box() as box:
            found = [_measure(box, server) for _ in range(launches)]
    finally:
        server.remove()
    print(f"{launches} launches of {TRIALS} trials of {EPOCHS} epochs, medians\n")
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
