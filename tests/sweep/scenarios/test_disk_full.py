"""A disk that is full costs no trial, no epoch and no database."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.nursery import ForkedSweep
from tests.sweep.scenarios.test_local_sweep import LONG, await_status, launch, training
from tests.sweep.scenarios.test_storage_away import log_of, wait_for
from tests.sweep.slots.test_table import optuna_trials
from tests.sweep.tiny import StudyFile
from wconv_sweep.storage.open_storage import choose_url, open_storage

pytestmark = pytest.mark.slow

DISK_BYTES = 8_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    # Lazily: what is still open on it goes with the last process.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave not one byte on a disk."""
    path = disk / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (1_000_000, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def test_a_disk_that_fills_under_a_study_costs_nothing(
    disk: Path, tmp_path: Path, study_file: StudyFile
) -> None:
    sweep = ForkedSweep(disk)
    # The log of the pilot lies elsewhere, for the test to see what it says.
    logs, pilots = tmp_path / "logs", disk / "wconv_runs" / "tiny" / "pilots"
    logs.mkdir()
    pilots.parent.mkdir(parents=True)
    pilots.symlink_to(logs)
    sweep.run(*launch(study_file(**LONG), "--detach"))
    await_status(sweep, training)

    ballast = fill(disk)
    wait_for(lambda: "storage is away" in log_of(sweep) or "not kept on disk" in log_of(sweep))
    ballast.unlink()

    status = await_status(sweep, lambda status: status["state"] == "complete")
    storage = open_storage(choose_url(None, disk / "wconv_runs", {}))
    trials = optuna_trials(storage)
    with storage.read() as connection:
        intact = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    storage.close()
    assert intact == "ok"
    assert status["slots"]["complete"] == 3
    assert [sorted(trial.intermediate_values) for trial in trials] == [list(range(1, 11))] * 3
