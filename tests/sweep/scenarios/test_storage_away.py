"""Whole studies whose PostgreSQL server goes away under them."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import URL, make_url, select

from tests.sweep.postgres import OwnServer
from tests.sweep.scenarios.test_local_sweep import (
    LONG,
    agent_of,
    assert_all_gone,
    launch,
    rank_of,
    training,
    until,
)
from tests.sweep.tiny import StudyFile, Sweep
from wconv_sweep.cli.views.status import status_json
from wconv_sweep.errors import StorageError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.pilots import running
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.storage.open_storage import Storage, create_storage, open_storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client
from wconv_sweep.storage.tables import PILOTS
from wconv_sweep.study.config import StudyConfig

pytestmark = pytest.mark.slow


@pytest.fixture
def place(own_postgres: OwnServer) -> list[str]:
    return ["--storage", own_postgres.database().render_as_string(hide_password=False)]


def await_status(
    place: list[str], reached: Callable[[dict[str, Any]], bool], deadline_s: float = 120
) -> dict[str, Any]:
    status: dict[str, Any] = {}
    for _ in until(deadline_s):
        try:
            storage: Storage = open_storage(make_url(place[1]))
        except StorageError:
            continue
        try:
            status = status_json(read_status(storage, "tiny"))
        except StorageError:
            continue
        finally:
            storage.close()
        if reached(status):
            return status
    raise AssertionError(status)


def epochs_of(place: list[str]) -> list[list[int]]:
    """Return the epochs that Optuna knows of each trial."""
    storage = open_storage(make_url(place[1]))
    client = optuna_client(storage)
    trials = optuna.load_study(study_name="tiny", storage=client).get_trials()
    close_client(client, storage)
    storage.close()
    return [sorted(trial.intermediate_values) for trial in trials]


def spooled(sweep: Sweep) -> list[str]:
    """Return the lines of the spools, the leases left out."""
    lines = []
    for path in sweep.folder.glob("wconv_runs/tiny/spools/*.jsonl"):
        try:
            lines += path.read_text("utf-8").splitlines()[1:]
        except FileNotFoundError:  # just handed over
            continue
    return lines


def log_of(sweep: Sweep) -> str:
    logs = sorted(Path(sweep.folder / "wconv_runs/tiny/pilots").glob("*_log.err"))
    return "".join(path.read_text("utf-8") for path in logs)


def wait_for(condition: Callable[[], bool], deadline_s: float = 60) -> None:
    for _ in until(deadline_s):
        if condition():
            return
    raise AssertionError(condition)


def _pilot(order: str, opened: Event, gone: Event) -> None:
    """Be a pilot that finds its storage gone just after it has opened it."""

    def opens(url: URL, *, patience_s: float) -> Storage:
        storage = open_storage(url, patience_s=patience_s)
        opened.set()
        gone.wait(timeout=120)
        return storage

    running.open_storage = opens  # type: ignore[attr-defined, assignment]
    running.run_pilot(order)


def test_a_pilot_waits_for_a_storage_that_goes_away_before_it_has_read_its_study(
    own_postgres: OwnServer, tiny_config: StudyConfig, tmp_path: Path
) -> None:
    storage = create_storage(own_postgres.database())
    folder = RunFolder.of(tmp_path, "tiny")
    studies.create_or_extend(storage, tiny_config, folder, "local")
    studies.stop(storage, "tiny")
    order = PilotOrder(
        study="tiny",
        storage=storage.name,
        run_folder=folder.path,
        pilot=0,
        gpus_used_per_node=0,
        gpus_held_per_node=0,
        lease_s=60,
        grace_s=60,
        walltime_s=600,
    )
    (tmp_path / "order.json").write_text(order.model_dump_json(), "utf-8")
    context = multiprocessing.get_context("spawn")
    opened, gone = context.Event(), context.Event()
    pilot = context.Process(target=_pilot, args=(str(tmp_path / "order.json"), opened, gone))

    pilot.start()
    assert opened.wait(timeout=120)
    own_postgres.stop()
    gone.set()
    # Without patience it would end now, without a trace.
    pilot.join(timeout=2)
    own_postgres.start()
    pilot.join(timeout=120)

    def looked() -> float | None:
        with storage.read() as connection:
            return connection.scalar(select(PILOTS.c.ended_at))

    assert pilot.exitcode == 0
    assert storage.retrying(looked, patience_s=60) is not None
    storage.close()


def test_training_goes_on_while_the_server_is_away_and_nothing_is_lost(
    sweep: Sweep, study_file: StudyFile, own_postgres: OwnServer, place: list[str]
) -> None:
    sweep.run(*launch(study_file(**LONG), *place, "--detach"))
    await_status(place, training)

    own_postgres.stop()
    wait_for(lambda: len(spooled(sweep)) >= 2)
    own_postgres.start()

    status = await_status(place, lambda status: bool(status["state"] == "complete"))
    assert status["slots"]["complete"] == 3
    assert status["failures"] == []
    assert epochs_of(place) == [list(range(1, 11))] * 3
    assert_all_gone(sweep)
    log = log_of(sweep)
    assert "storage is away, training continues" in log
    assert "attempt=2" not in log
    assert spooled(sweep) == []


def test_a_trial_that_ends_while_the_server_is_away_is_told_when_it_is_back(
    sweep: Sweep, study_file: StudyFile, own_postgres: OwnServer, place: list[str]
) -> None:
    sweep.run(*launch(study_file(**LONG), *place, "--detach"))
    await_status(place, training)

    own_postgres.stop()
    wait_for(lambda: any('"finished"' in line for line in spooled(sweep)))
    own_postgres.start()

    status = await_status(place, lambda status: bool(status["state"] == "complete"))
    assert status["slots"]["complete"] == 3
    assert epochs_of(place) == [list(range(1, 11))] * 3
    assert "attempt=2" not in log_of(sweep)
    assert_all_gone(sweep)


def test_an_agent_killed_while_the_server_is_away_leaves_its_reports_to_the_next(
    sweep: Sweep, study_file: StudyFile, own_postgres: OwnServer, place: list[str]
) -> None:
    sweep.run(*launch(study_file(**LONG), *place, "--detach"))
    await_status(place, training)

    own_postgres.stop()
    wait_for(lambda: len(spooled(sweep)) >= 2)
    os.kill(agent_of(sweep), signal.SIGKILL)
    assert_all_gone(sweep)
    left = len(spooled(sweep))
    own_postgres.start()
    sweep.run("resume", "--study", "tiny", *place)

    status = await_status(place, lambda status: bool(status["state"] == "complete"))
    assert left >= 2
    assert status["slots"]["complete"] == 3
    assert epochs_of(place) == [list(range(1, 11))] * 3
    assert "reports of dead agents handed over attempts=1" in log_of(sweep)
    (entry,) = json.loads(sweep.run("export", "--format", "json", *place))
    assert entry["trials"] == {"complete": 3}
    assert spooled(sweep) == []


def at_its_beginning(status: dict[str, Any]) -> bool:
    """Return whether a search trial of ten epochs has most of them before it."""
    return training(status) and all(row["epoch"] <= 3 for row in status["running"])


def test_a_pilot_that_must_end_while_the_server_is_away_leaves_its_trial_to_the_next(
    sweep: Sweep, study_file: StudyFile, own_postgres: OwnServer, place: list[str]
) -> None:
    profile = sweep.folder / "hasty.yaml"
    facts = "schema: 1\ncluster: hasty\nlauncher: local\npilots: 1\ngpus_per_pilot: 0\nlanes: 1\n"
    profile.write_text(f"{facts}walltime_min: 60\ngrace_s: 8\n", "utf-8")
    path = study_file(**LONG)
    sweep.run("launch", "--cluster", str(profile), "--study", str(path), *place, "--detach")
    await_status(place, at_its_beginning)

    # Frozen while the server goes away: its ten epochs may take less time than that.
    rank = rank_of(sweep)
    os.kill(rank, signal.SIGSTOP)
    own_postgres.stop()
    os.kill(rank, signal.SIGCONT)
    wait_for(lambda: len(spooled(sweep)) >= 1)
    os.kill(agent_of(sweep), signal.SIGTERM)
    assert_all_gone(sweep)
    left = spooled(sweep)
    own_postgres.start()
    sweep.run("resume", "--study", "tiny", *place)

    assert '"stopped"' in left[-1]
    assert epochs_of(place) == [list(range(1, 11))] * 3
    assert "storage is away, trial left to others" in log_of(sweep)
