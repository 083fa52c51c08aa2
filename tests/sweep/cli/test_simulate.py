"""`wconv-sweep simulate` gives a table, JSON and a picture, with the noise of a study that ran."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.searching import launched, study_of
from tests.sweep.tiny import StudyFile, run
from wconv_sweep.simulation.simulated_study import read_study
from wconv_sweep.storage.open_storage import Storage

LINE = {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}}
SMALL = ("--budget", "8", "--workers", "2", "--repeats", "2")


@pytest.fixture
def few(study_file: StudyFile) -> str:
    return str(study_file(search=LINE, budget={"trials": 8}))


@pytest.mark.slow
def test_the_table_has_a_row_for_each_budget_workers_and_way_of_naming(
    few: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--budget", "6", "--budget", "8", "--workers", "4", "--repeats", "2")
    status, output, _ = run(monkeypatch, capsys, "simulate", "--study", few, *arguments)

    lines = output.splitlines()
    assert status == 0
    assert lines[0].split()[:2] == ["workers", "trials"]
    assert "regret, seed-sigma" in lines[0]
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["4", "6", "observed"],
        ["4", "6", "model"],
        ["4", "8", "observed"],
        ["4", "8", "model"],
    ]
    assert "has not run" in output


def test_json_holds_what_the_table_shows(
    few: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output, _ = run(monkeypatch, capsys, "simulate", "--study", few, *SMALL, "--json")

    told = json.loads(output)
    assert status == 0
    assert told["study"] == "tiny"
    assert told["measured"] is None
    assert [(cell["trials"], cell["named_by"]) for cell in told["cells"]] == [
        (8, "observed"),
        (8, "model"),
    ]
    assert {cell["studies"] for cell in told["cells"]} == {8}


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_picture_is_written(
    few: str,
    ending: str,
    magic: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = tmp_path / f"simulation.{ending}"

    status, output, _ = run(
        monkeypatch, capsys, "simulate", "--study", few, *SMALL, "--plot", str(picture)
    )

    assert status == 0
    assert str(picture) in output
    assert picture.read_bytes().startswith(magic)


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_simulated(
    few: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for picture, expected in (("a.word", "png"), (f"{tmp_path}/no/a.png", "does not exist")):
        status, _, errors = run(monkeypatch, capsys, "simulate", "--study", few, "--plot", picture)
        assert status == 2
        assert expected in errors
        assert len(errors.splitlines()) == 1


def test_of_a_study_that_ran_noise_and_hours_are_its_own(sqlite_storage: Storage) -> None:
    config = study_of({"name": "random"}, trials=30, epochs=1, bounds=[[0.5, 1.5]])
    agent = launched(sqlite_storage, config)
    # A flat response with a standard deviation of 0.1, by a digit of the density.
    agent.work(lambda density, _: 29.9 + 0.2 * (round(density[0] * 1e6) % 2))

    found = read_study("tiny", sqlite_storage.url, settings=())

    assert found.config == config
    assert found.measured is not None
    assert found.measured.noise_sd == pytest.approx(0.1, rel=0.1)
    assert found.measured.trial_h == 0.0  # no GPU was held


def test_a_study_with_few_trials_is_simulated_in_seed_sigmas(sqlite_storage: Storage) -> None:
    config = study_of({"name": "random"}, trials=7, epochs=1)
    launched(sqlite_storage, config).work()

    assert read_study("tiny", sqlite_storage.url, settings=()).measured is None


def test_a_study_file_of_a_launched_study_takes_the_noise_of_that(
    few: str, sqlite_storage: Storage
) -> None:
    config = study_of({"name": "random"}, trials=12, epochs=1)
    launched(sqlite_storage, config).work()

    found = read_study(few, sqlite_storage.url, settings=("budget.trials=9",))

    assert found.config.budget.trials == 9
    assert found.measured is not None


def test_a_launched_study_takes_no_settings(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(sqlite_storage, study_of({"name": "random"}))
    runs = ("--runs", str(sqlite_storage.folder))

    status, _, errors = run(
        monkeypatch, capsys, "simulate", "--study", "tiny", "--set", "epochs=3", *runs
    )

    assert status == 2
    assert "leave out --set" in errors


@pytest.mark.slow
def test_a_simulation_takes_no_torch(few: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from wconv_sweep.cli import app as cli\n"
        f"sys.argv = ['wconv-sweep', 'simulate', '--study', {few!r}, *{SMALL!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert 'torch' not in sys.modules\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
