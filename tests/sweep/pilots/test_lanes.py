"""One agent trains several trials side by side, and each ends as it does alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.sweep.nursery import ForkedSweep
from tests.sweep.pilots.test_node_share import order as order_of
from tests.sweep.scenarios.test_local_sweep import (
    LONG,
    agent_of,
    assert_all_gone,
    await_status,
    launch,
    optuna_states,
    until,
)
from tests.sweep.tiny import TINY, Sweep
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.provenance import provenance_of
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage, open_storage
from wconv_sweep.storage.tables import ATTEMPTS, PILOTS, AttemptOutcome, SlotState
from wconv_sweep.study.config import StudyConfig

pytestmark = pytest.mark.slow

SIX = LONG | {"budget": {"trials": 6}}


def on_four_gpus(sweep: Sweep, path: Path) -> list[str]:
    """Return the launch of a study on one pilot that holds four GPUs; there need not be any."""
    profile = sweep.folder / "four.yaml"
    facts = "schema: 1\ncluster: four\nlauncher: local\npilots: 1\nwalltime_min: 60\n"
    profile.write_text(f"{facts}gpus_per_pilot: 4\n", "utf-8")
    return ["launch", "--cluster", str(profile), "--study", str(path), "--detach"]


def ordered(folder: Path, sections: dict[str, Any], **facts: Any) -> tuple[Storage, Path]:
    """Write a study and the order of a pilot of it; start nothing."""
    config = StudyConfig.model_validate(TINY | sections)
    storage = create_storage(choose_url(None, folder, {}))
    run = RunFolder.of(folder, "tiny")
    studies.create_or_extend(storage, config, run, "local", provenance=provenance_of(config))
    run.create(definitions.study_place(storage, "tiny").uid)
    order = order_of(gpus_used_per_node=0).model_copy(
        update={"storage": storage.name, "run_folder": run.path} | facts
    )
    path = folder / "order.json"
    path.write_text(order.model_dump_json(), "utf-8")
    return storage, path


def wait_for(reached: Callable[[], bool]) -> None:
    assert any(reached() for _ in until(deadline_s=120))


def storage_of(sweep: Sweep) -> Storage:
    return open_storage(choose_url(None, sweep.folder / "wconv_runs", {}))


def trials_of(sweep: Sweep) -> list[tuple[Any, ...]]:
    """Return what each slot measured, bit for bit, times aside."""
    storage = storage_of(sweep)
    trials = read_status(storage, "tiny").trials
    storage.close()
    return [
        (
            *(row.position, row.state, row.density, row.epoch, row.value),
            {key: value for key, value in row.metrics.items() if key != "epoch_s"},
        )
        for row in trials
    ]


@pytest.fixture(scope="module")
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What the trials measure on a pilot that trains them one after the other."""
    sweep = ForkedSweep(tmp_path_factory.mktemp("alone"))
    sweep.run(*launch(sweep.write_study(**SIX)))
    return trials_of(sweep)


def pilot_log(sweep: Sweep) -> str:
    (path,) = (sweep.folder / "wconv_runs/tiny/pilots").glob("*.err")
    return path.read_text("utf-8")


def test_trials_side_by_side_end_with_the_numbers_they_have_alone(
    sweep: Sweep, one_at_a_time: list[tuple[Any, ...]]
) -> None:
    sweep.run(*on_four_gpus(sweep, sweep.write_study(**SIX)))

    most = await_status(sweep, lambda status: len(status["running"]) == 4)
    await_status(sweep, lambda status: bool(status["state"] == "complete"))

    assert_all_gone(sweep)
    # The canary alone, then four at once.
    assert most["slots"]["open"] <= 2
    assert trials_of(sweep) == one_at_a_time
    assert optuna_states(sweep) == ["COMPLETE"] * 6
    for line in pilot_log(sweep).splitlines():
        if " trial complete " in line:
            assert " lane-" in line
            assert f"/trial-{line.split('trial=')[1].split()[0]} " in line


def test_a_pilot_is_seen_while_all_its_lanes_are_busy(tmp_path: Path) -> None:
    long = {"recipe": TINY["recipe"] | {"epochs": 100_000}, "budget": {"trials": 1}}
    storage, order = ordered(tmp_path, long, lease_s=1.0)

    def seen_for_s() -> float:
        with storage.read() as connection:
            row = connection.execute(select(PILOTS)).one_or_none()
        return 0.0 if row is None else float(row.seen_at - row.started_at)

    def epochs() -> int:
        return read_status(storage, "tiny").trials[0].epoch

    with subprocess.Popen([sys.executable, "-m", "wconv_sweep.pilots.pilot", str(order)]) as pilot:
        # Reports alone renew the lease: an epoch is shorter than the time between renewals.
        wait_for(lambda: epochs() > 0)
        before = seen_for_s()
        wait_for(lambda: seen_for_s() > before)
        pilot.terminate()

    storage.close()
    assert pilot.returncode == 0


def test_trials_of_two_ranks_take_two_gpus_each(sweep: Sweep) -> None:
    study = sweep.write_study(**SIX | {"budget": {"trials": 3}, "trial": {"ranks": 2}})

    sweep.run(*on_four_gpus(sweep, study))
    await_status(sweep, lambda status: len(status["running"]) == 2)
    await_status(sweep, lambda status: bool(status["state"] == "complete"))

    assert_all_gone(sweep)
    storage = storage_of(sweep)
    with storage.read() as connection:
        gpus = list(connection.scalars(select(ATTEMPTS.c.gpus_per_trial)))
        assert connection.scalars(select(PILOTS.c.gpus_total)).all() == [4]
    storage.close()
    assert gpus == [2, 2, 2]


def test_a_signal_lets_every_lane_reach_a_checkpoint_and_hand_its_slot_back(
    sweep: Sweep, one_at_a_time: list[tuple[Any, ...]]
) -> None:
    sweep.run(*on_four_gpus(sweep, sweep.write_study(**SIX)))
    await_status(sweep, lambda status: len(status["running"]) == 4)

    os.kill(agent_of(sweep), signal.SIGUSR2)
    assert_all_gone(sweep)

    storage = storage_of(sweep)
    status = read_status(storage, "tiny")
    with storage.read() as connection:
        ended = connection.execute(select(ATTEMPTS.c.outcome, ATTEMPTS.c.reason)).all()
    storage.close()
    assert status.running == []
    assert status.ended < 6
    interrupted = [row for row in ended if row.outcome == AttemptOutcome.INTERRUPTED]
    assert interrupted
    assert {row.reason for row in interrupted} == {"stopped at a checkpoint"}
    sweep.run("resume", "--study", "tiny")
    assert trials_of(sweep) == one_at_a_time


def test_a_killed_agent_of_four_lanes_hands_all_of_them_to_the_next(
    sweep: Sweep, one_at_a_time: list[tuple[Any, ...]]
) -> None:
    sweep.run(*on_four_gpus(sweep, sweep.write_study(**SIX)))
    await_status(sweep, lambda status: len(status["running"]) == 4)

    os.kill(agent_of(sweep), signal.SIGKILL)
    assert_all_gone(sweep)
    sweep.run("resume", "--study", "tiny")

    assert trials_of(sweep) == one_at_a_time
    assert optuna_states(sweep) == ["COMPLETE"] * 6
    assert_all_gone(sweep)


def test_a_trial_that_never_reaches_a_checkpoint_fails_with_its_reason(tmp_path: Path) -> None:
    # One optimizer step takes longer than the pilot has.
    heavy = {
        "model": {"name": "dncnn", "options": {"depth": 12, "width": 96, "norm": "none"}},
        "data": {"name": "photographs", "options": {"crop_px": 128, "crops_per_epoch": 8}},
        "budget": {"trials": 1, "max_attempts": 2},
    }
    storage, order = ordered(tmp_path, heavy, walltime_s=6.0, grace_s=3.0)

    states = []
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "wconv_sweep.pilots.pilot", str(order)], check=True)
        (trial,) = read_status(storage, "tiny").trials
        states.append(trial.state)

    storage.close()
    assert states == [SlotState.OPEN, SlotState.FAILED]
    assert trial.reason is not None
    assert trial.reason.startswith("NoCheckpoint: no checkpoint before the pilot's time was up")


def test_an_order_that_is_none_is_a_plain_line(tmp_path: Path) -> None:
    storage, order = ordered(tmp_path, {}, launcher="slurm")
    storage.close()

    outside = subprocess.run(
        [sys.executable, "-m", "wconv_sweep.pilots.pilot", str(order)],
        env={name: text for name, text in os.environ.items() if not name.startswith("SLURM")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert outside.returncode == 2
    assert outside.stderr.startswith("wconv-sweep: the pilot of study tiny was ordered for SLURM")
    assert outside.stderr.count("\n") == 1
