"""Agents in real jobs: they obey SLURM's signals, come back, and are never two."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.slurm.box import SlurmBox
from tests.slurm.processes import ranks_among, stopped, wait_until
from tests.slurm.sweeping import slow_data
from tests.sweep.tiny import TINY
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.provenance import provenance_of
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage
from wconv_sweep.storage.tables import ATTEMPTS, PILOTS, SLOTS
from wconv_sweep.study.config import StudyConfig

pytestmark = pytest.mark.slow

WITHIN_S = 240.0


@dataclass
class Study:
    """A study whose pilots are jobs; both nodes are this machine, so that SQLite will do."""

    box: SlurmBox
    storage: Storage
    order: Path

    def submit(self, *options: str) -> str:
        """Submit one pilot."""
        common = ("--ntasks-per-node=1", "--gres=gpu:4", "--cpus-per-task=8", "--time=10")
        command = f"{sys.executable} -u -m wconv_sweep.pilots.pilot {self.order}"
        # An agent that ends must not end the others.
        script = f"SRUN_CPUS_PER_TASK=8 srun --wait=0 --kill-on-bad-exit=0 --mpi=none {command}"
        return self.box.submit(*common, "--requeue", *options, script=script)

    @property
    def status(self) -> StudyStatus:
        return read_status(self.storage, "tiny")

    def await_(self, reached: Callable[[StudyStatus], bool], what: str) -> StudyStatus:
        seen: list[StudyStatus] = []

        def look() -> bool:
            seen[:] = [self.status]
            return reached(seen[0])

        wait_until(look, what, within_s=WITHIN_S)
        return seen[0]

    @contextmanager
    def frozen(self, reached: Callable[[StudyStatus], bool], what: str) -> Iterator[None]:
        """Wait for a state, and let ranks stand still in it; agents live on."""
        while True:
            self.await_(reached, what)
            with stopped(ranks_among(self.box.job_processes())):
                # A trial may have ended since.
                if reached(self.status):
                    yield
                    return

    def await_complete(self) -> None:
        self.await_(lambda status: status.complete, "the study is complete")
        wait_until(lambda: not self.box.queue(), "no job is left")

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.storage.read() as connection:
            return [
                tuple(row) for row in connection.execute(select(*columns).order_by(columns[0]))
            ]

    def values(self) -> list[tuple[Any, ...]]:
        """Return what each trial has measured, bit for bit."""
        return [(row.density, row.epoch, row.value) for row in self.status.trials]


def make_study(
    box: SlurmBox, folder: Path, *, nodes: int = 1, gpus: int = 4, **sections: Any
) -> Study:
    """Write a study, and the order of its pilots."""
    config = StudyConfig.model_validate(TINY | slow_data(batch_s=0.05) | sections)
    storage = create_storage(choose_url(None, folder, {}))
    run = RunFolder.of(folder, "tiny")
    studies.create_or_extend(storage, config, run, "box", provenance=provenance_of(config))
    run.create(definitions.study_place(storage, "tiny").uid)
    definitions.freeze_own_modules(storage, "tiny")
    order = PilotOrder(
        study="tiny",
        storage=storage.name,
        run_folder=run.path,
        launcher="slurm",
        pilot=0,
        nodes=nodes,
        gpus_used_per_node=gpus,
        gpus_held_per_node=gpus,
        cpus=8,
        requeue=True,
        lease_s=120.0,
        grace_s=60.0,
        walltime_s=600.0,
    )
    path = folder / "order.json"
    path.write_text(order.model_dump_json(), "utf-8")
    return Study(box, storage, path)


RECIPE = TINY["recipe"] | {"epochs": 24}
BUDGET = {"trials": 5}


def in_the_middle(status: StudyStatus) -> bool:
    return len(status.running) == 4 and all(2 <= row.epoch <= 20 for row in status.running)


@pytest.fixture
def study(box: SlurmBox, tmp_path: Path) -> Study:
    return make_study(box, tmp_path, recipe=RECIPE, budget=BUDGET)


@pytest.fixture
def undisturbed(box: SlurmBox, tmp_path: Path) -> list[Any]:
    """What the trials measure when nothing happens, and four of them share a GPU."""
    folder, trial = tmp_path / "undisturbed", {"per_gpu": 4}
    study = make_study(box, folder, gpus=1, trial=trial, recipe=RECIPE, budget=BUDGET)
    study.submit()
    study.await_complete()
    times = study.rows(ATTEMPTS.c.started_at, ATTEMPTS.c.ended_at)
    usage = study.status.usage
    assert times[3][0] < min(ended for _, ended in times)  # four side by side, after the canary
    assert 0 < usage.attempts_h <= usage.pilots_h  # the GPU is not counted four times
    return study.values()


def assert_finished_like(study: Study, undisturbed: list[Any]) -> None:
    study.await_complete()
    assert study.values() == undisturbed
    assert all(row.attempt <= 2 for row in study.status.trials)


def test_a_warned_pilot_checkpoints_all_its_trials_and_goes_back_into_the_queue(
    study: Study, undisturbed: list[Any]
) -> None:
    job = study.submit("--signal=USR2@60")
    with study.frozen(in_the_middle, "four trials at work"):
        study.box.run("scancel", "--signal=USR2", job)
        wait_until(lambda: "stopping why=" in study.box.output(job), "the agent has heard it")

    wait_until(lambda: "pilot goes back into the queue" in study.box.output(job), "the requeue")
    assert_finished_like(study, undisturbed)
    reasons = {reason for _, reason in study.rows(ATTEMPTS.c.id, ATTEMPTS.c.reason)}
    assert reasons == {None, "stopped at a checkpoint"}
    assert study.rows(PILOTS.c.job) == [(f"{job}.0",), (f"{job}.1",)]
    assert "Traceback" not in study.box.output(job)


def test_a_trial_of_eight_ranks_takes_two_nodes_and_measures_the_same(
    box: SlurmBox, tmp_path: Path
) -> None:
    # Eight ranks share the cores of this machine.
    facts = {"recipe": RECIPE | {"epochs": 12}, "budget": {"trials": 1}}
    wide = make_study(box, tmp_path / "wide", nodes=2, trial={"ranks": 8}, **facts)
    narrow = make_study(box, tmp_path / "narrow", trial={"ranks": 4}, **facts)

    job = wide.submit("--nodes=2")
    with wide.frozen(lambda status: 2 <= status.trials[0].epoch <= 8, "two epochs"):
        box.run("scancel", "--signal=USR2", job)
        wait_until(lambda: "stopping why=" in box.output(job), "the agent has heard it")
    wide.await_complete()
    narrow.submit()
    narrow.await_complete()

    # Warned in its middle, with all ranks on both nodes.
    assert wide.rows(ATTEMPTS.c.id, ATTEMPTS.c.outcome) == [(1, "interrupted"), (2, "complete")]
    assert "node has no trials of its own" in box.output(job)
    assert wide.rows(PILOTS.c.gpus_total) == [(8,), (8,)]
    assert wide.rows(ATTEMPTS.c.gpus_per_trial) == [(8,), (8,)]
    (provenance,) = wide.rows(SLOTS.c.provenance)
    assert provenance[0]["ranks"] == "8"
    (one,), (other,) = wide.status.trials, narrow.status.trials
    assert one.value == pytest.approx(other.value, rel=1e-9)
