"""Whatever happens in the middle of a study of twelve trials, it ends as if nothing had.

Twelve slots end, each once and with its undisturbed numbers; no epoch is trained to its end
twice; no job and no process is left. The rows with a program of the user's are run by
`make slurm-programs`, and not by CI.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.once import once_per_run
from tests.slurm.box import SlurmBox
from tests.slurm.processes import stopped, wait_until
from tests.slurm.studies import (
    GRACE_S,
    TWELVE,
    TWELVE_OF_A_PROGRAM,
    ClusterStudy,
    Held,
    trained_locally,
    worked_out,
)
from tests.sweep.postgres import OwnServer

pytestmark = pytest.mark.slow

URGENT = ("--qos=urgent", "--exclusive", "--gres=gpu:4")
"""Options of a job that takes a node from pilots."""


@pytest.fixture(
    scope="session", params=["ours", pytest.param("program", marks=pytest.mark.by_hand)]
)
def trainer(request: pytest.FixtureRequest) -> str:
    """Who trains the trials."""
    return str(request.param)


@pytest.fixture(scope="session")
def undisturbed(trainer: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What the trials measure when nothing happens."""
    if trainer == "program":
        return worked_out(tmp_path_factory.mktemp("program"), **TWELVE_OF_A_PROGRAM)
    return once_per_run(
        tmp_path_factory, "undisturbed", lambda folder: trained_locally(folder, **TWELVE)
    )


@pytest.fixture
def study(
    trainer: str, undisturbed: list[tuple[Any, ...]], cluster_study: ClusterStudy
) -> ClusterStudy:
    return written(cluster_study, trainer)


def written(study: ClusterStudy, trainer: str) -> ClusterStudy:
    """Return a study whose trials this trainer trains."""
    if trainer == "program":
        study.write_study(**TWELVE_OF_A_PROGRAM)
    return study


@contextmanager
def frozen(study: ClusterStudy, *, pilots: int = 2) -> Iterator[Held]:
    """Launch the study, each pilot on a node, and let ranks stand still in the middle of a trial.

    Yields:
        One of the trials in their middle.
    """
    study.launch("--pilots", str(pilots))
    with study.frozen() as victim:
        yield victim


def test_a_killed_rank_and_a_controller_that_starts_again(
    study: ClusterStudy, undisturbed: list[tuple[Any, ...]]
) -> None:
    with frozen(study, pilots=1) as victim:
        (rank,) = study.ranks_of(victim)
        os.kill(rank, signal.SIGKILL)
        study.box.kill("slurmctld", signal.SIGTERM)
        before = len(study.received())
    wait_until(lambda: len(study.received()) > before, "training goes on without the controller")
    warning = study.status()["pilots"]["warnings"]
    study.box.start("slurmctld")

    study.await_end()
    study.assert_sound(undisturbed, broken=1)
    assert [outcome for outcome, _ in study.attempts_of(victim)] == ["broken", "complete"]
    assert study.restarts() == {0}
    assert warning[0].startswith("it is unknown which jobs are running: squeue ")
    assert warning[0].endswith(". SLURM does not answer; try again once it does.")


def test_a_killed_agent(study: ClusterStudy, undisturbed: list[tuple[Any, ...]]) -> None:
    study.profile(gpus_used_per_node=3, lease_s=12, grace_s=GRACE_S)
    with frozen(study) as victim:
        os.kill(victim.agent, signal.SIGKILL)

    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)
    assert study.attempts_of(victim) == [("interrupted", "lease ran out"), ("complete", None)]


def test_a_cancelled_pilot(study: ClusterStudy, undisturbed: list[tuple[Any, ...]]) -> None:
    with frozen(study) as victim:
        study.box.run("scancel", victim.job)
        study.await_log("stopping why=")

    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)
    assert study.restarts() == {0}


def test_a_requeued_pilot(study: ClusterStudy, undisturbed: list[tuple[Any, ...]]) -> None:
    with frozen(study, pilots=1) as victim:
        study.box.run("scontrol", "requeue", victim.job)
        study.await_log("stopping why=")

    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)
    assert study.restarts() == {0, 1}


def test_a_dead_slurmd_whose_tasks_go_on(
    study: ClusterStudy, undisturbed: list[tuple[Any, ...]]
) -> None:
    with frozen(study, pilots=1) as victim:
        study.box.kill(victim.node)
        study.box.run("scontrol", "update", f"node={victim.node}", "state=down", "reason=dead")
        wait_until(lambda: study.restarts() == {0, 1}, "a second copy is at work", within_s=120)

    wait_until(lambda: not study.processes(victim.node), "the first copy ends by itself")
    assert "another copy of this pilot has started" in study.logs()
    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)


def test_a_node_that_falls_silent(study: ClusterStudy, undisturbed: list[tuple[Any, ...]]) -> None:
    """Its power is cut, and SLURM notices by itself, here after 20 to 30 s."""
    with frozen(study, pilots=1) as victim:
        study.box.power_off(victim.node)

    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)
    assert study.attempts_of(victim) == [("interrupted", "its pilot died"), ("complete", None)]
    assert study.restarts() == {0, 1}
    wait_until(lambda: "NODE_FAIL" in study.box.states(victim.job), "accounting knows of it")


def test_a_time_limit(study: ClusterStudy, undisturbed: list[tuple[Any, ...]]) -> None:
    study.launch("--pilots", "1")
    victim = study.await_middle()

    job = study.raw_id(victim.job)
    # SLURM looks at its jobs every 30 s; a fast machine has trained all trials by then.
    with stopped(study.ranks_on(victim.node)):
        study.box.run("scontrol", "update", f"jobid={job}", "EndTime=now+45")
        study.await_log("stopping why=")

    study.await_log("pilot goes back into the queue")
    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)
    assert study.restarts() >= {0, 1}


def test_more_urgent_jobs_that_leave_a_pilot_time_and_none(
    study: ClusterStudy, undisturbed: list[tuple[Any, ...]]
) -> None:
    study.box.run("scontrol", "update", "partition=gpu", "state=down")
    study.launch("--pilots", "1", "--qos", "patient")
    study.launch("--pilots", "2", "--qos", "hasty")
    study.box.run("scontrol", "update", "partition=gpu", "state=up")
    with study.frozen(on=study.box.nodes):
        assert sorted(job.qos for job in study.jobs()) == ["hasty", "patient"]
        urgent = [
            study.box.submit(*URGENT, f"--nodelist={node}", script="true")
            for node in study.box.nodes
        ]
        wait_until(lambda: study.logs().count("stopping why=") == 2, "both pilots have heard it")

    wait_until(
        lambda: all("COMPLETED" in study.box.states(job) for job in urgent),
        "the urgent jobs have run",
    )
    study.await_end()
    study.assert_sound(undisturbed, interrupted=True)


def test_accounting_that_is_down_and_a_database_that_starts_again(
    tmp_path: Path,
    box: SlurmBox,
    own_postgres: OwnServer,
    trainer: str,
    undisturbed: list[tuple[Any, ...]],
) -> None:
    box.kill("slurmdbd")
    with closing(written(ClusterStudy(tmp_path, box, own_postgres), trainer)) as study:
        with frozen(study):
            warning = study.status()["pilots"]["warnings"]
            own_postgres.stop()
        study.await_log("storage is away, training continues")
        own_postgres.start()

        study.await_end()
        study.assert_sound(undisturbed)
        assert study.restarts() == {0}
        assert "it is unknown how past jobs ended" in warning[0]
