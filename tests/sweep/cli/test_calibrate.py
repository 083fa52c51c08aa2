"""`wconv-sweep calibrate` measures for real, shows what it found, and keeps it."""

import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tests.sweep.calibration.found import calibration, config, measured
from tests.sweep.tiny import StudyFile, Sweep, run
from wconv_sweep.calibration.calibrate import Calibrated
from wconv_sweep.calibration.comparison import compare
from wconv_sweep.cli.views.calibration import print_calibrated
from wconv_sweep.clusters.profile import load_profile
from wconv_sweep.evidence.calibration_record import Calibration, LeftOut

SLOWER = measured(9, 9, 9, memory_format="channels_last")


def shown(found: Calibration, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_calibrated(
        Console(width=200, highlight=False),
        Calibrated(
            config=config(),
            profile=load_profile("local"),
            found=found,
            comparison=compare(found, config(), None),
            record=Path("kept.json"),
            pilots=None,
        ),
    )
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_table_has_all_shapes_and_the_lines_for_the_study(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = calibration(
        measured(10, 10, 10),
        measured(20, 20, 40, memory_format="channels_last"),
        measured(30, 20, 30, memory_format="channels_last", amp="bfloat16"),
        left_out=(LeftOut(ranks=4, reason="takes 4 cores of 2"),),
    )

    title, head, *rows = shown(found, capsys)

    assert title == "tiny on n1: 4 cores of cpu (x86_64), torch 2.13.0"
    assert head.split()[:4] == ["ranks", "memory", "format", "autocast"]
    assert [" ".join(row.split()) for row in rows[:4]] == [
        "1 contiguous 1 10 100 1 3 MiB all are held against this",
        "1 channels_last 1 20 200 2.00 [2.00, 4.00] 3 MiB",
        "1 channels_last bfloat16 1 30 300 3.00 [2.00, 3.00] 3 MiB",
        "4 any any - - - - - - - left out: takes 4 cores of 2",
    ]
    assert "median [lowest, highest] of 3 rounds" in rows[5]
    assert rows[6:] == [
        "As it is, 60 trials of 36 s each take 0.6 hours of this node, 0.6 core-hours.",
        "At equal results up to rounding, 2.00 x the trials per hour; 60 trials of 18 s each take "
        "0.3 hours of this node, 0.3 core-hours:",
        "  trial: {ranks: 1}",
        "  recipe: {memory_format: channels_last, amp: none}",
        "With bfloat16 autocast, which changes results, 3.00 x the trials per hour; 60 trials of "
        "12 s each take 0.2 hours of this node, 0.2 core-hours:",
        "  trial: {ranks: 1}",
        "  recipe: {memory_format: channels_last, amp: bfloat16}",
        "Kept for `studies show` and `launch --dry-run`: kept.json",
    ]


def test_another_way_to_take_a_step_is_a_line_of_the_study(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fused = measured(20, 20, 20, optimizer="fused", compile="reduce-overhead")

    lines = shown(calibration(measured(10, 10, 10), fused), capsys)

    (row,) = (
        line for line in lines if "fused" in line and "ratio" not in line and ":" not in line
    )
    assert row.split()[:4] == ["1", "contiguous", "reduce-overhead", "fused"]
    assert (
        "  recipe: {memory_format: contiguous, amp: none, compile: reduce-overhead, "
        "optimizer: {implementation: fused}}"
    ) in lines
    assert yaml.safe_load("\n".join(line for line in lines if line.startswith("  recipe")))


def test_trials_that_share_a_gpu_are_a_line_of_the_study(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared = measured(9, 9, lanes=4, per_gpu=4)

    lines = shown(calibration(measured(10, 10), shared, gpus=1), capsys)

    assert any("4, 4 per GPU" in line for line in lines)
    assert "  trial: {ranks: 1, per_gpu: 4}" in lines


def test_a_difference_within_the_spread_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    half = measured(11, 11, 9, amp="bfloat16")

    lines = shown(calibration(measured(10, 10, 10), SLOWER, half), capsys)

    assert (
        lines[-2] == "At equal results up to rounding, no other shape was faster in every round."
    )
    assert not any("With bfloat16" in line for line in lines)


def test_what_nobody_has_asked_for_is_said_with_how_to_try_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    some = calibration(measured(10, 10, 10), SLOWER)

    assert not any("--all" in line for line in shown(some, capsys))
    assert any(
        "15 further combinations were left out. --all measures them, too." in line
        for line in shown(some.model_copy(update={"untried": 15}), capsys)
    )


def test_other_lanes_belong_into_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(calibration(measured(10, 10), measured(4, 4, lanes=2)), capsys)

    assert "  in the cluster profile: lanes: 1, pilots: 1" in lines


def test_bad_input_gets_one_line_and_status_2(
    study_file: StudyFile,
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = str(study_file())
    for arguments in (
        ("--study", "nothing", "--cluster", "local"),
        ("--study", study, "--cluster", "leonrado"),
        ("--study", study, "--cluster", "local", "--qos", "fast"),
        ("--study", study, "--cluster", "local", "--time", "soon"),
        ("--study", study, "--cluster", "local", "--ranks", "3", "--ranks", "5"),
        ("--study", study, "--cluster", "leonardo"),  # it takes an account
    ):
        monkeypatch.delenv("WCONV_SWEEP_ACCOUNT", raising=False)
        status, _, errors = run(monkeypatch, capsys, "calibrate", *arguments)

        assert status == 2, arguments
        assert errors.count("\n") == 1, errors
        assert list(empty_folder.iterdir()) == []


@pytest.mark.slow
def test_a_study_is_measured_on_this_machine(started_sweep: Sweep) -> None:
    sweep = started_sweep
    study = str(sweep.write_study(trial={"ranks": 2}))
    quick = ("--seconds", "0.1", "--rounds", "1", "--ranks", "2", "--ranks", "3")

    printed = json.loads(
        sweep.run("calibrate", "--study", study, "--cluster", "local", *quick, "--json")
    )

    assert {row["memory_format"] for row in printed["rows"]} == {"contiguous", "channels_last"}
    assert {row["ranks"] for row in printed["rows"]} == {2}
    assert all(row["trials_per_h"] > 0 for row in printed["rows"])
    assert printed["base"]["study_cost"]["unit"] == "core-hours"
    assert [each["ranks"] for each in printed["left_out"]] == [2, 3]
    assert printed["record"] == "wconv_runs/_calibration/tiny.local.json"
    assert [path.name for path in sweep.folder.glob("wconv_runs/*/*")] == ["tiny.local.json"]
