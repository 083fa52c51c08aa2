"""Agents die, freeze and lose their database, and a study still ends with its exact budget."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState
from sqlalchemy import URL, func, select

from tests.sweep.postgres import OwnServer
from tests.sweep.scenarios.storm_agents import REPORTED
from tests.sweep.scenarios.test_local_sweep import until
from tests.sweep.searching import parabola, study_of
from tests.sweep.slots.test_table import optuna_trials
from wconv_sweep.errors import StorageAway
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.storage.open_storage import create_storage
from wconv_sweep.storage.tables import ATTEMPTS, ENDED, SLOTS, SlotState
from wconv_sweep.storage.trial_rows import _INTERMEDIATE

pytestmark = pytest.mark.slow

AGENTS, BUDGET, EPOCHS = 32, 100, 6
REFERENCES = {"paper": [0.3, 0.9], "weak": [0.9, 1.0], "strong": [0.1, 0.6]}
CONFIG = study_of({"name": "tpe"}, trials=BUDGET, epochs=EPOCHS, reference_densities=REFERENCES)
OUTAGE_S = 20
LEASE_OF_FROZEN_S = 4.0
DEADLINE_S = 300
"""Far more than a storm takes on a machine that does nothing else, seconds."""


class Storm:
    """A study with its agents, each of which may be killed, frozen and replaced at any time."""

    def __init__(self, url: URL, folder: Path, lease_s: float) -> None:
        self.storage = create_storage(url)
        self.folder = RunFolder.of(folder, CONFIG.study)
        self._lease_s = lease_s
        studies.create_or_extend(self.storage, CONFIG, self.folder, "local")
        self.folder.create(definitions.study_place(self.storage, CONFIG.study).uid)
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.sweep.scenarios.storm_agents"],
            cwd=Path(__file__).parents[3],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.agents: dict[int, int] = {}
        """Number of the pilot, by process id."""
        self.killed: set[int] = set()
        self.frozen: dict[int, float] = {}
        """When each agent was frozen that is."""
        self._next_pilot = 0
        self._random = random.Random(0)

    def start(self, pilot: int | None = None) -> None:
        """Start an agent, on the number of a pilot that is dead, or on a new one."""
        if pilot is None:
            pilot, self._next_pilot = self._next_pilot, self._next_pilot + 1
        order = PilotOrder(
            study=CONFIG.study,
            storage=self.storage.name,
            run_folder=self.folder.path,
            pilot=pilot,
            gpus_used_per_node=0,
            gpus_held_per_node=0,
            lease_s=self._lease_s,
            grace_s=60,
            walltime_s=3600,
        )
        path = self.folder.pilots / f"pilot_{pilot}.json"
        path.write_text(order.model_dump_json(), "utf-8")
        process = int(self._ask(f"start {path} {path.with_suffix('.log')}"))
        self.agents[process] = pilot

    def replace_the_dead(self) -> None:
        """Start an agent for each that was killed: every other one on the same number.

        The next agent of a number knows that the one before is dead; one on another node only
        finds that its lease runs out.
        """
        for process, status in json.loads(self._ask("ended")).items():
            pilot = self.agents.pop(int(process))
            if int(process) in self.killed:
                assert status in (-signal.SIGKILL, 0)
                self.start(pilot if pilot % 2 else None)
            else:
                assert status == 0, self.logs()

    def kill(self) -> None:
        """Kill an agent at random."""
        for victim in self._victims():
            os.kill(victim, signal.SIGKILL)
            self.killed.add(victim)

    def freeze(self) -> None:
        """Freeze an agent at random."""
        for victim in self._victims():
            os.kill(victim, signal.SIGSTOP)
            self.frozen[victim] = time.monotonic()

    def thaw(self, after_s: float = 0) -> None:
        """Let those go on that have been frozen for so long."""
        for process, since_s in list(self.frozen.items()):
            if time.monotonic() - since_s >= after_s:
                os.kill(process, signal.SIGCONT)
                del self.frozen[process]

    def ended(self) -> int | None:
        """Return the number of slots that have ended; None while nobody can tell."""
        try:
            with self.storage.read() as connection:
                return connection.scalar(select(func.count()).where(SLOTS.c.state.in_(ENDED)))
        except StorageAway:
            return None

    def logs(self) -> str:
        """Return what the agents have logged."""
        return "".join(path.read_text("utf-8") for path in self.folder.pilots.glob("*.log"))

    def rage(self, every_second: Callable[[], None], also: Callable[[int], None]) -> None:
        """Let it rage until all slots and agents have ended.

        Args:
            every_second: does harm to an agent.
            also: is told all the time how many slots have ended.
        """
        for _ in range(AGENTS):
            self.start()
        next_s = time.monotonic() + 1
        for _ in until(DEADLINE_S):
            self.replace_the_dead()
            ended = self.ended()
            if ended == BUDGET:
                return
            assert self.agents, self.logs()[-5000:]
            also(ended or 0)
            if time.monotonic() >= next_s:
                every_second()
                next_s += 1
        raise AssertionError(self.logs()[-5000:])

    def calm(self) -> None:
        """Wait until the agents have seen that nothing is left, and have ended."""
        for _ in until(DEADLINE_S):
            self.replace_the_dead()
            if not self.agents:
                return
        raise AssertionError(self.logs()[-5000:])

    def close(self) -> None:
        """End what is left."""
        with self._nursery:
            assert self._nursery.stdin is not None
            self._nursery.stdin.close()
        self.storage.close()

    def _victims(self) -> list[int]:
        there = sorted(self.agents.keys() - self.killed - self.frozen.keys())
        return self._random.sample(there, min(1, len(there)))

    def _ask(self, line: str) -> str:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(line + "\n")
        self._nursery.stdin.flush()
        return self._nursery.stdout.readline()


@contextlib.contextmanager
def storm(url: URL, folder: Path, lease_s: float) -> Iterator[Storm]:
    made = Storm(url, folder, lease_s)
    try:
        yield made
    finally:
        made.close()


def reports_of(storm: Storm) -> list[tuple[int, int, int, float]]:
    """Return trial, attempt, epoch and value of every report that an agent was given, in order."""
    reports = []
    for line in (storm.folder.path / REPORTED).read_text("ascii").splitlines():
        trial, attempt, epoch, value = line.split()
        number, try_ = int(trial.removeprefix("trial_")), int(attempt.removeprefix("attempt_"))
        reports.append((number, try_, int(epoch), float(value)))
    return reports


def assert_exact(storm: Storm) -> None:
    """Assert that the budget was spent once: in our tables, in Optuna's, and by the agents."""
    with storm.storage.read() as connection:
        slots = connection.execute(select(SLOTS).order_by(SLOTS.c.position)).all()
        attempts = connection.execute(select(ATTEMPTS)).all()
        epochs = connection.scalar(select(func.count()).select_from(_INTERMEDIATE))
    trials = optuna_trials(storm.storage)

    assert [(slot.position, slot.state) for slot in slots] == [
        (position, SlotState.COMPLETE) for position in range(BUDGET)
    ]
    # Of each slot one attempt has ended it; the others were interrupted, and none was broken.
    ending = [(row.slot, row.attempt) for row in attempts if row.outcome != "interrupted"]
    assert sorted(ending) == sorted((slot.slot, slot.attempt) for slot in slots)
    assert {row.outcome for row in attempts} <= {"complete", "interrupted"}
    # One slot, one trial.
    assert sorted(slot.trial for slot in slots) == list(range(BUDGET))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * BUDGET
    by_number = {trial.number: trial for trial in trials}
    densities = {slot.trial: slot.point.density for slot in slots}
    for number, trial in by_number.items():
        curve = {step: parabola(densities[number], step) for step in range(1, EPOCHS + 1)}
        assert tuple(trial.params.values()) == densities[number]
        assert trial.intermediate_values == curve
        assert trial.value == curve[EPOCHS]
    assert epochs == BUDGET * EPOCHS
    references = {label: tuple(point) for label, point in REFERENCES.items()} | {
        "plain": (1.0, 1.0)
    }
    labels = [trial.user_attrs.get("label") for trial in trials]
    assert sorted(label for label in labels if label) == sorted(references)
    for slot in slots[: len(references)]:
        assert densities[slot.trial] == references[slot.label]
    # What the agents were given is what the database has, and no attempt gave an epoch twice.
    reports = reports_of(storm)
    assert len({report[:3] for report in reports}) == len(reports)
    told = {(trial, epoch): value for trial, _, epoch, value in reports}
    assert told == {
        (number, step): value
        for number, trial in by_number.items()
        for step, value in trial.intermediate_values.items()
    }


def assert_continued(storm: Storm) -> None:
    """Assert that each attempt continued where the dead one before had its checkpoint."""
    furthest: dict[int, int] = defaultdict(int)
    seen: set[tuple[int, int]] = set()
    for trial, attempt, epoch, _ in reports_of(storm):
        first = (trial, attempt) not in seen
        seen.add((trial, attempt))
        # The report that the checkpoint ends with is repeated: it may not have been told.
        wanted = {furthest[trial] + 1} | ({furthest[trial]} if first else set())
        assert epoch in wanted, (trial, attempt, epoch)
        furthest[trial] = epoch


def nothing_else(_: int) -> None:
    pass


class Outages:
    """Stops a server for 20 s early in a study, and restarts it twice later on."""

    def __init__(self, server: OwnServer) -> None:
        self.steps = self._steps(server)
        self.done = 0

    def __call__(self, ended: int) -> None:
        """Take the next step when so many slots have ended, or so much time has passed."""
        self.ended = ended
        next(self.steps, None)

    def _steps(self, server: OwnServer) -> Iterator[None]:
        while self.ended < BUDGET // 10:
            yield
        server.stop()
        for _ in until(OUTAGE_S):
            yield
        server.start()
        for share, mode in ((0.4, "fast"), (0.7, "immediate")):
            while self.ended < share * BUDGET:
                yield
            server.stop(mode)
            server.start()
            self.done += 1


def test_agents_that_are_killed_every_second_leave_an_exact_budget(
    storage_url: URL, tmp_path: Path
) -> None:
    with storm(storage_url, tmp_path, lease_s=12) as raging:
        raging.rage(raging.kill, nothing_else)
        raging.calm()

        assert_exact(raging)
        # On a machine so busy that a living agent lost its lease, two have trained one epoch.
        if "lease lost" not in raging.logs():
            assert_continued(raging)
        assert len(raging.killed) >= 10


def test_a_server_that_goes_away_and_agents_that_are_killed_leave_an_exact_budget(
    own_postgres: OwnServer, tmp_path: Path
) -> None:
    outages = Outages(own_postgres)
    with storm(own_postgres.database(), tmp_path, lease_s=12) as raging:
        raging.rage(raging.kill, outages)
        raging.calm()

        assert_exact(raging)
        logs = raging.logs()
    assert outages.done == 2
    assert "storage is away, training continues" in logs
    assert "storage is back" in logs
    assert "pilot ends" not in logs


def test_agents_that_come_back_after_their_lease_leave_an_exact_budget(
    storage_url: URL, tmp_path: Path
) -> None:
    with storm(storage_url, tmp_path, lease_s=LEASE_OF_FROZEN_S) as raging:
        raging.rage(raging.freeze, lambda _: raging.thaw(after_s=2 * LEASE_OF_FROZEN_S))
        raging.thaw()
        raging.calm()

        assert_exact(raging)
        assert "lease lost, trial ended" in raging.logs()
