"""What was measured of a study is found again, for that study as far as its steps are the same."""

from pathlib import Path
from typing import Any

import pytest

from tests.sweep.calibration.found import calibration, config, measured
from tests.sweep.tiny import StudyFile, run
from wconv_sweep.evidence.calibration_record import calibrated_trials, write_record
from wconv_sweep.evidence.expected_cost import read_expected_cost
from wconv_sweep.storage.open_storage import choose_url
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study

FOUND = calibration(
    measured(10, 20, 40, ranks=2),
    measured(10, 10, 10),
    measured(5, 5, 5, lanes=2),
    measured(100, 100, 100, memory_format="channels_last"),
    measured(50, 50, 50, compile=True, optimizer="fused"),
)
SHARED = calibration(measured(10, lanes=4, per_gpu=4), gpus=1)


def changed(study: StudyConfig, **trial: Any) -> StudyConfig:
    return study.model_copy(update={"trial": study.trial.model_copy(update=trial)})


def test_a_trial_costs_the_cores_that_it_keeps_for_its_time(tmp_path: Path) -> None:
    write_record(tmp_path, config(), "mine", FOUND, "2026-01-02T03:04:05+00:00")

    (one,) = calibrated_trials(tmp_path, config())
    (two,) = calibrated_trials(tmp_path, changed(config(), ranks=2))
    (longer,) = calibrated_trials(tmp_path, config(epochs=20))
    (other,) = calibrated_trials(tmp_path, config(memory_format="channels_last"))

    # 360 steps at 5 a second, as two are trained at once; two ranks at 10, 20 and 40.
    assert one.hours == pytest.approx(72 / 3600)
    assert (two.lowest_h, two.hours, two.highest_h) == pytest.approx(
        (18 / 3600, 36 / 3600, 72 / 3600)
    )
    assert longer.hours == pytest.approx(2 * one.hours)
    assert other.hours == pytest.approx(3.6 / 3600)
    fused = {"name": "adam", "lr": 0.1, "implementation": "fused"}
    (compiled,) = calibrated_trials(tmp_path, config(compile=True, optimizer=fused))
    assert compiled.hours == pytest.approx(7.2 / 3600)
    assert (one.on_gpus, one.device, one.cluster) == (False, "cpu (x86_64)", "mine")


def test_a_trial_that_shares_a_gpu_costs_its_part(tmp_path: Path) -> None:
    write_record(tmp_path, config(), "mine", SHARED, "2026-01-02T03:04:05+00:00")

    (found,) = calibrated_trials(tmp_path, changed(config(), per_gpu=4))

    assert found.on_gpus
    assert found.hours == pytest.approx(36 / 3600 / 4)
    assert calibrated_trials(tmp_path, config()) == []


@pytest.mark.parametrize("recipe", [{"batch_size": 4}, {"amp": "bfloat16"}, {"compile": True}])
def test_other_steps_and_shapes_that_were_not_measured_are_not_known(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    write_record(tmp_path, config(), "mine", FOUND, "2026-01-02T03:04:05+00:00")

    assert calibrated_trials(tmp_path, config(**recipe)) == []
    assert calibrated_trials(tmp_path, changed(config(), threads_per_rank=2)) == []


def test_the_latest_comes_first_and_files_that_are_none_are_passed_over(tmp_path: Path) -> None:
    for day, cluster in ((3, "older"), (5, "newer")):
        write_record(tmp_path, config(), cluster, FOUND, f"2026-01-0{day}T00:00:00+00:00")
    (tmp_path / "_calibration" / "tiny.broken.json").write_text("{")

    assert [each.cluster for each in calibrated_trials(tmp_path, config())] == ["newer", "older"]
    assert calibrated_trials(tmp_path / "nowhere", config()) == []


def test_where_no_trial_has_run_the_cost_is_that_of_the_calibration(tmp_path: Path) -> None:
    url = choose_url(None, tmp_path, environment={})
    write_record(tmp_path, config(), "mine", FOUND, "2026-01-02T03:04:05+00:00")

    def cost(**more: Any) -> Any:
        return read_expected_cost(config(), url, runs=tmp_path, ablation_trials=4, **more)

    known = cost()
    assert known is not None
    assert (known.unit, known.measured, known.device) == ("core-hours", 0, "cpu (x86_64)")
    assert known.hours == pytest.approx(64 * 72 / 3600)
    assert cost(cluster="mine", on_gpus=False) == known
    assert cost(cluster="other") is None
    assert cost(on_gpus=True) is None


def test_a_preview_of_a_launch_shows_it(
    study_file: StudyFile,
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = study_file()
    preview = ("launch", "--cluster", "local", "--study", str(path), "--dry-run")
    _, before, _ = run(monkeypatch, capsys, *preview)
    found = calibration(measured(10))
    write_record(Path("wconv_runs"), load_study(str(path)), "local", found, "2026-01-02T03:04:05")

    _, after, _ = run(monkeypatch, capsys, *preview)

    assert "`wconv-sweep calibrate --cluster local --study" in before
    # Three trials of two epochs of 36 steps.
    assert "about 0.01 core-hours of trials, a core for each thread: 1 reference x 0.002" in after
    assert "calibrate` has timed on cpu (x86_64), cluster local, 2026-01-02" in after
