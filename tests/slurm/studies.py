"""Studies of twelve trials on the test cluster, and what holds of each of them in the end."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial
from sqlalchemy import Row, Select, select

from tests.slurm.box import SlurmBox
from tests.slurm.processes import JobProcess, ranks_among, stopped, wait_until
from tests.slurm.sweeping import SlurmSweep, scores, slow_data, slow_program
from tests.sweep.postgres import Server
from tests.sweep.searching import launched
from tests.sweep.tiny import TINY, Sweep
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage, open_storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS, AttemptOutcome, SlotState
from wconv_sweep.study.files import load_study
from wconv_sweep.study.point import Point
from wconv_sweep.study.program_trial import program_trial
from wconv_trial.names import SHORT_SEEDS

EPOCHS = 8
TWELVE: dict[str, Any] = {
    "recipe": TINY["recipe"] | {"epochs": EPOCHS},
    "budget": {"trials": 12},
} | slow_data(batch_s=0.06)
"""Sections of a study whose trials take long enough for something to happen to them."""
TWELVE_OF_A_PROGRAM: dict[str, Any] = TWELVE | slow_program(batch_s=0.06, epochs=EPOCHS)
"""The same, where a program of the user's trains them."""
LEASE_S = 30.0
"""Long enough that no lease runs out by itself where many tests share two cores."""
GRACE_S = 20.0

_OWNER = re.compile(r"slurm-(?P<job>[\d_]+)/(?P<restart>\d+)/(?P<node>[^/]+)/(?P<pid>\d+)-")
_RECEIVED = re.compile(r" epoch received trial=(\d+) attempt=(\d+) epoch=(\d+) ")


@dataclass(frozen=True)
class Held:
    """A trial that is being trained."""

    trial: int
    attempt: int
    epoch: int
    job: str
    """As SLURM shows it, `1234_0`."""
    restart: int
    node: str
    agent: int
    """Process of the agent."""


class ClusterStudy(SlurmSweep):
    """A study on the test cluster, watched through its database."""

    def __init__(self, folder: Path, box: SlurmBox, server: Server) -> None:
        super().__init__(folder, box, server)
        self.profile(gpus_used_per_node=3, lease_s=LEASE_S, grace_s=GRACE_S)
        self.study(**TWELVE)

    def held(self) -> list[Held]:
        """Return the trials that agents hold."""
        leased = select(SLOTS).where(SLOTS.c.state == SlotState.LEASED).order_by(SLOTS.c.trial)
        return [_held(row) for row in self.ask(partial(_rows, leased))]

    def await_middle(self) -> Held:
        """Wait until trials have ended, and return one that is in its middle."""
        found: list[Held] = []

        def in_the_middle() -> bool:
            found[:] = self._in_the_middle()
            return bool(found) and self.read().ended >= 1

        wait_until(in_the_middle, "a trial is in its middle", within_s=240)
        return found[0]

    @contextmanager
    def frozen(self, on: Collection[str] = ()) -> Iterator[Held]:
        """Wait until trials have ended, and give one whose rank stands still in its middle.

        Agents live on. All ranks go on after the block: no machine is so fast that the study ends
        before what is done there.

        Args:
            on: nodes that hold trials.
        """
        while True:
            self.await_middle()
            with stopped(ranks_among(self.processes())):
                # A trial may have ended since; a rank is an epoch ahead of its report at most.
                found = [row for row in self._in_the_middle() if len(self.ranks_of(row)) == 1]
                if found and {row.node for row in self.held()}.issuperset(on):
                    yield found[0]
                    return

    def await_log(self, text: str, *, within_s: float = 120) -> None:
        """Wait until an agent has logged a text."""
        wait_until(lambda: text in self.logs(), f"an agent logs: {text}", within_s=within_s)

    def logs(self) -> str:
        """Return what all agents have logged."""
        return "".join(path.read_text("utf-8") for path in sorted(self.pilots.glob("*.err")))

    def await_end(self, *, within_s: float = 400) -> StudyStatus:
        """Wait until the study is complete and none of its jobs is left; return it."""

        def ended() -> bool:
            return self.read().complete

        try:
            wait_until(ended, "the study is complete", within_s=within_s)
            wait_until(lambda: not self.jobs(), "its pilots end by themselves", within_s=120)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._account()}") from None
        return self.read()

    def raw_id(self, job: str) -> str:
        """Return the number of its own that an element of an array has."""
        (found,) = (queued.raw_id for queued in self.jobs() if queued.id == job)
        return found

    def _in_the_middle(self) -> list[Held]:
        return [row for row in self.held() if 2 <= row.epoch <= EPOCHS - 3]

    def attempts(self) -> list[Row[Any]]:
        """Return all attempts in order, each with the number of its trial."""
        ordered = (
            select(ATTEMPTS, SLOTS.c.trial).join(SLOTS).order_by(SLOTS.c.trial, ATTEMPTS.c.attempt)
        )
        return self.ask(partial(_rows, ordered))

    def attempts_of(self, held: Held) -> list[tuple[str, str | None]]:
        """Return how each attempt at a trial ended, and why."""
        return [(row.outcome, row.reason) for row in self.attempts() if row.trial == held.trial]

    def restarts(self) -> set[int]:
        """Return how often SLURM had started the jobs again that have worked on trials."""
        return {int(_place(row.owner)["restart"]) for row in self.attempts()}

    def received(self) -> list[tuple[int, int, int]]:
        """Return trial, attempt and epoch of each report that agents took for a new one."""
        return [
            (int(trial), int(attempt), int(epoch))
            for trial, attempt, epoch in _RECEIVED.findall(self.logs())
        ]

    def processes(self, node: str | None = None) -> list[JobProcess]:
        """Return the processes of jobs, without those of SLURM."""
        return [found for found in self.box.job_processes(node) if not found.is_step]

    def ranks_on(self, node: str) -> list[int]:
        """Return the ranks on a node."""
        return ranks_among(self.processes(node))

    def ranks_of(self, held: Held) -> list[int]:
        """Return the ranks of a trial: they have opened the logs of its attempt."""
        logs = self.pilots.parent / f"trial_{held.trial:05d}" / f"attempt_{held.attempt}"
        return [pid for pid in self.ranks_on(held.node) if _has_open(pid, logs)]

    def assert_sound(
        self, expected: list[tuple[Any, ...]], *, interrupted: bool = False, broken: int = 0
    ) -> None:
        """Fail unless every trial has ended once, whole, and with its undisturbed numbers.

        Args:
            expected: `results_of` the study where nothing happened.
            interrupted: whether trials must have been continued by another attempt, or none may.
            broken: attempts that must have been counted as failures.
        """
        status = self.read()
        account = self._account()
        assert len(expected) == 12
        assert (status.ended, status.budget) == (12, 12), account
        assert results_of(status) == expected, account
        outcomes = Counter(row.outcome for row in self.attempts())
        assert outcomes[AttemptOutcome.COMPLETE] == 12, account
        assert outcomes[AttemptOutcome.BROKEN] == broken, account
        assert outcomes[AttemptOutcome.RUNNING] == 0, account
        assert bool(outcomes[AttemptOutcome.INTERRUPTED]) is interrupted, account
        # One Optuna trial each, with every epoch.
        for trial in self.optuna_trials():
            assert trial.state.name == "COMPLETE", account
            assert list(trial.intermediate_values) == list(range(1, EPOCHS + 1)), account
        self.assert_no_epoch_repeated()
        wait_until(lambda: not self.processes(), f"no process is left: {self.processes()}")

    def assert_no_epoch_repeated(self) -> None:
        """Fail if an epoch was trained to its end twice."""
        received = Counter((trial, epoch) for trial, _, epoch in self.received())
        repeated = [found for found, times in received.items() if times > 1]
        assert not repeated, f"{repeated}\n{self._account()}"
        # An agent that is killed may not have come to log the last report of each trial.
        assert len(received) >= 12 * (EPOCHS - 1)

    def optuna_trials(self) -> list[FrozenTrial]:
        """Return the study's trials as Optuna reads them."""

        def trials(storage: Storage) -> list[FrozenTrial]:
            client = optuna_client(storage)
            try:
                return client.get_all_trials(client.get_study_id_from_name("tiny"))
            finally:
                close_client(client, storage)

        return self.ask(trials)

    def _account(self) -> str:
        lines = [
            f"trial {row.trial} attempt {row.attempt}: {row.outcome} {row.reason} {row.owner}"
            for row in self.attempts()
        ]
        jobs = [f"{job.id} {job.state} {job.reason}" for job in self.jobs()]
        return "\n".join([*lines, *jobs, self.logs()[-6000:]])


def results_of(status: StudyStatus) -> list[tuple[Any, ...]]:
    """Return what each slot measured, bit for bit, times aside."""
    return [
        (
            *(row.position, str(row.state), row.density, row.epoch, row.value),
            {key: value for key, value in row.metrics.items() if key != "epoch_s"},
        )
        for row in status.trials
    ]


def trained_locally(folder: Path, **sections: Any) -> list[tuple[Any, ...]]:
    """Return the results of a study with these sections, trained by `--cluster local`."""
    sweep = Sweep(folder)
    study = folder / "tiny.yaml"
    study.write_text(yaml.safe_dump(TINY | sections, sort_keys=False), "utf-8")
    sweep.run("launch", "--cluster", "local", "--study", str(study))
    storage = open_storage(choose_url(None, folder / "wconv_runs", {}))
    try:
        return results_of(read_status(storage, "tiny"))
    finally:
        storage.close()


def worked_out(folder: Path, epochs: int = EPOCHS, **sections: Any) -> list[tuple[Any, ...]]:
    """Return the results of a study with these sections, whose program nobody runs."""
    config = load_study(str(Sweep(folder).write_study(**sections)))
    seed = program_trial(config, Point((1.0,)), 0, folder).seed % SHORT_SEEDS
    storage = create_storage(choose_url(None, folder, {}))
    try:
        searcher = launched(storage, config)
        for lease in searcher.leases():
            values = scores(searcher.density_of(lease), seed, epochs)
            if any(searcher.report(lease, epoch, each) for epoch, each in enumerate(values, 1)):
                searcher.slots.prune(lease)
                continue
            last = {"score": values[-1], "test_score": values[-1] + config.trial.ranks}
            searcher.slots.complete(lease, last, {})
        return results_of(read_status(storage, "tiny"))
    finally:
        storage.close()


def _rows(query: Select[Any], storage: Storage) -> list[Row[Any]]:
    with storage.read() as connection:
        return list(connection.execute(query))


def _held(row: Row[Any]) -> Held:
    found = _place(row.owner)
    return Held(
        trial=row.trial,
        attempt=row.attempt,
        epoch=row.epoch,
        job=found["job"],
        restart=int(found["restart"]),
        node=found["node"],
        agent=int(found["pid"]),
    )


def _place(owner: str) -> re.Match[str]:
    found = _OWNER.match(owner)
    assert found is not None, owner
    return found


def _has_open(pid: int, folder: Path) -> bool:
    try:
        files = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False  # it, or a file of it, has just ended
    return any(Path(file).is_relative_to(folder) for file in files)
