"""`status` reads a few trials and says what all of them say, and it answers at once."""

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sweep.evidence.test_confirmation import confirmed
from tests.sweep.searching import Curve, Searcher, launched, study_of
from tests.sweep.slots.test_table import failure
from wconv_sweep.cli.views.status import status_json
from wconv_sweep.evidence.confirmation import confirmation_of
from wconv_sweep.evidence.overview import StudyOverview, read_overview
from wconv_sweep.evidence.results import best_of
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SlotState

EPOCHS = 4
SLOW = {"torch", "numpy", "scipy", "sklearn", "pandas", "matplotlib", "optuna", "submitit"}
"""Packages that take longer than all that `status` has to do."""


def assert_same(status: StudyStatus, overview: StudyOverview) -> None:
    """Check what the database has counted against all of the trials."""
    trials, config = status.trials, status.config
    counter = Counter(row.state for row in trials)
    epochs = config.recipe.epochs
    pruned = [row for row in trials if row.state is SlotState.PRUNED]
    assert overview.counts == {state: counter[state] for state in SlotState}
    assert overview.budget == len(trials)
    assert overview.epochs == sum(row.epoch for row in trials)
    assert overview.epochs_saved == sum(epochs - row.epoch for row in pruned)
    assert overview.running == [row for row in trials if row.state is SlotState.LEASED]
    whole, few = best_of(trials, config.direction), overview.result
    assert (whole is None) == (few is None)
    if whole is not None and few is not None:
        assert (few.best.position, few.difference) == (whole.best.position, whole.difference)
    assert overview.confirmation == confirmation_of(
        [dataclasses.replace(row, gpu_hours=0.0) for row in trials], config
    )


@pytest.mark.parametrize("metric", ["psnr_db", "nrmse"])
def test_what_the_database_counts_is_what_the_trials_say(storage: Storage, metric: str) -> None:
    config = study_of({"name": "random"}, trials=12, epochs=EPOCHS)
    objective = config.objective.model_copy(update={"metric": metric})
    searcher = launched(storage, config.model_copy(update={"objective": objective}))
    assert_same(read_status(storage, "tiny"), read_overview(storage, "tiny"))

    # Two are equally good, one is pruned after an epoch, and one at work again after it was broken
    # and interrupted.
    for value in (28.0, 31.0, 27.0, 31.0, 27.0):
        searcher.train(searcher.lease(), constant(value))
    searcher.slots.prune(begun(searcher, 1))
    searcher.slots.break_(begun(searcher, 2), failure("ValueError"))
    searcher.slots.interrupt(begun(searcher, 3), "stopped")
    begun(searcher, 1)

    overview = read_overview(storage, "tiny")
    assert_same(read_status(storage, "tiny"), overview)
    assert overview.result is not None
    assert overview.result.best.value == (31.0 if metric == "psnr_db" else 27.0)
    assert (overview.epochs, overview.epochs_saved) == (5 * EPOCHS + 1 + 3, EPOCHS - 1)
    assert [row.epoch for row in overview.running] == [3]


def constant(value: float) -> Curve:
    return lambda density, epoch: value


def begun(searcher: Searcher, epochs: int) -> Lease:
    """Lease the next trial and train some epochs of it."""
    lease = searcher.lease()
    searcher.density_of(lease)
    for epoch in range(lease.epoch + 1, epochs + 1):
        searcher.report(lease, epoch, 29.0)
    return lease


def test_a_confirmation_is_read_whole(sqlite_storage: Storage) -> None:
    confirmed(sqlite_storage, ablate=True)

    overview = read_overview(sqlite_storage, "tiny")

    assert_same(read_status(sqlite_storage, "tiny"), overview)
    assert status_json(overview)["confirmation"]["claim"].startswith("better than plain")


def test_few_of_many_trials_are_read_one_by_one(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=30, epochs=1))
    searcher.work()

    shown = read_overview(sqlite_storage, "tiny").shown

    assert len(shown) == 2  # the best one and plain convolution


def imported(folder: Path, *arguments: str) -> set[str]:
    """Run the command in a process of its own, and return the packages that it imports."""
    command = [sys.executable, "-X", "importtime", "-m", "wconv_sweep", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(re.findall(r"^import time:.*\| +([a-z_]+)", ran.stderr, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_status_imports_nothing_that_takes_long(
    storage: Storage, as_json: tuple[str, ...], tmp_path: Path
) -> None:
    confirmed(storage)

    packages = imported(tmp_path, "status", "--storage", storage.name, *as_json)

    assert "sqlalchemy" in packages
    assert not packages & SLOW
    assert ("psycopg" in packages) == storage.name.startswith("postgresql")


@pytest.mark.slow
def test_help_imports_no_database(tmp_path: Path) -> None:
    packages = imported(tmp_path, "--help")

    assert "typer" in packages
    assert not packages & (SLOW | {"sqlalchemy", "psycopg", "pydantic"})
