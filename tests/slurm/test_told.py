"""What a user is told of a study in SLURM while it runs, and by its own command, once."""

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.slurm.processes import wait_until
from tests.slurm.studies import ClusterStudy
from tests.sweep.cli.test_watch import CONTROL, Watcher
from tests.sweep.pilots.test_notification import notify_command, told
from wconv_sweep.storage.open_storage import open_storage

pytestmark = pytest.mark.slow


@pytest.fixture
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with a line for each squeue and sacct that this process has started."""
    asked, programs = tmp_path / "asked", tmp_path / "bin"
    programs.mkdir()
    for program in ("squeue", "sacct"):
        path = programs / program
        path.write_text(
            f'#!/bin/sh\necho {program} >> "{asked}"\nexec /usr/bin/{program} "$@"\n', "utf-8"
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return asked


def test_a_watch_shows_pilots_that_wait_and_work_and_one_of_them_tells_the_end(
    cluster_study: ClusterStudy, questions: Path
) -> None:
    storage = open_storage(make_url(cluster_study.variable("WCONV_SWEEP_STORAGE")))
    cluster_study.box.run("scontrol", "update", "partition=gpu", "state=down")
    try:
        cluster_study.launch("--pilots", "2", "--notify", notify_command(cluster_study))
        watcher = Watcher(cluster_study, storage, terminal=True, lines=60)
        storage.close()
        watcher.await_text("2 pending (PartitionDown)")
    finally:
        cluster_study.box.run("scontrol", "update", "partition=gpu", "state=up")
    with cluster_study.frozen():
        watcher.await_text("pilots: 2 running")
    cluster_study.await_end()
    pictures = CONTROL.sub("", watcher.end()).split("tiny: ")[1:]

    assert pictures[0].startswith("waiting (12 open)")
    assert pictures[-1].startswith("complete (12 complete)")
    assert "pending" not in pictures[-1]
    # One question of each kind at a time, and not for every picture.
    asked = Counter(questions.read_text("utf-8").splitlines())
    assert asked["squeue"] == asked["sacct"] < len(pictures)
    # Both agents have seen the end, on two nodes.
    assert len({row.owner.split("/")[2] for row in cluster_study.attempts()}) == 2
    assert [each["stdin"]["event"] for each in told(cluster_study.folder)] == ["end"]


def test_the_circuit_breaker_is_told_once_by_two_pilots(cluster_study: ClusterStudy) -> None:
    # A classifier on a task of images: every trial ends with the same exception.
    cluster_study.study(
        model={"name": "tiny", "options": {"num_classes": 4}}, budget={"trials": 12}
    )

    cluster_study.launch("--pilots", "2", "--notify", notify_command(cluster_study))
    wait_until(
        lambda: cluster_study.read().word == "broken", "the breaker has opened", within_s=240
    )
    wait_until(lambda: not cluster_study.jobs(), "both pilots have seen it", within_s=120)

    assert cluster_study.read().agents.ended == 2
    assert [each["stdin"]["event"] for each in told(cluster_study.folder)] == ["breaker"]
