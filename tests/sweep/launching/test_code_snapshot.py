"""Pilots and their ranks run the program as it was when the study was launched."""

import json
import shutil
from pathlib import Path

import pytest

from tests.sweep.scenarios.test_local_sweep import assert_all_gone, await_status, launch, training
from tests.sweep.tiny import TINY, StudyFile, Sweep
from wconv_sweep.launching.code_snapshot import freeze, path_with
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.provenance import (
    PACKAGES,
    code_sha256,
    code_sha256_of,
    git_state,
    package_folder,
)


@pytest.fixture
def sweep(started_sweep: Sweep) -> Sweep:
    """Return the command as users start it."""
    return started_sweep


def copy_program(folder: Path) -> Path:
    """Copy the program, so that a test can edit it."""
    for package in (*PACKAGES, "wconv_studies", "wconv_slurm_templates"):
        shutil.copytree(package_folder(package), folder / package)
    return folder


def ruin(program: Path) -> None:
    """Edit every source file of a program so that it can be used no more."""
    for path in program.rglob("*.py"):
        path.write_text("raise SystemExit('this is not the program that was launched')\n")


def test_the_frozen_program_is_the_whole_program_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    frozen = freeze(folder)
    again = freeze(folder)

    assert (frozen, list(folder.code.iterdir())) == (again, [frozen])
    assert frozen.name == code_sha256()[:16]
    assert code_sha256_of({package: frozen / package for package in PACKAGES}) == code_sha256()
    assert (frozen / "wconv_studies" / "recipes" / "paper_classification.yaml").exists()
    assert (frozen / "wconv_slurm_templates" / "leonardo.yaml").exists()
    assert list(frozen.rglob("__pycache__")) == []


def test_a_frozen_program_knows_the_commit_that_it_was_copied_from(tmp_path: Path) -> None:
    frozen = freeze(RunFolder(tmp_path))

    assert git_state(frozen / "wconv_sweep") == git_state()


def test_the_frozen_program_comes_before_everything_in_the_path() -> None:
    assert path_with(Path("/runs/code"), None) == "/runs/code"
    assert path_with(Path("/runs/code"), "/mine:/yours") == "/runs/code:/mine:/yours"


@pytest.mark.slow
def test_an_edit_while_a_study_runs_changes_nothing(
    sweep: Sweep, study_file: StudyFile, tmp_path: Path
) -> None:
    program = copy_program(tmp_path / "program")
    sweep.variables(PYTHONPATH=str(program))
    path = study_file(recipe=TINY["recipe"] | {"epochs": 20})
    sweep.run(*launch(path, "--detach"))
    await_status(sweep, lambda status: bool(status["running"]))

    ruin(program)
    await_status(sweep, training)
    status = await_status(sweep, lambda status: bool(status["state"] == "complete"))

    assert status["slots"]["complete"] == 3
    assert_all_gone(sweep)
    sweep.variables(PYTHONPATH="")
    (entry,) = json.loads(sweep.run("export", "--format", "json"))
    # The edited copy would have no such hash.
    assert entry["provenance"]["code_sha256"] == code_sha256()
