"""A study for real: it searches, confirms and ablates to the end, in one command."""

import json

import pytest

from tests.sweep.tiny import StudyFile, Sweep

pytestmark = pytest.mark.slow


def test_one_command_searches_confirms_and_ablates(sweep: Sweep, study_file: StudyFile) -> None:
    path = study_file(confirm={"candidates": 1, "seeds": 2}, budget={"trials": 8})

    output = sweep.run("launch", "--cluster", "local", "--study", str(path), "--ablate")
    (entry,) = json.loads(sweep.run("export", "--format", "json"))

    assert "12 trials complete, 0 failed" in output
    assert "gradient alone" in output
    confirmation = entry["confirmation"]
    assert confirmation["complete"]
    assert confirmation["seeds"] == {"study_seed": 0, "indices": [1, 2]}
    (candidate,) = confirmation["candidates"]
    assert entry["density"] == candidate["density"]
    arms = [candidate, *confirmation["ablation"]]
    assert [arm["label"] for arm in arms] == ["best expected", "initial weights", "gradient"]
    scores = {arm["metrics"]["test_psnr_db"]["mean"] for arm in arms}
    scores.add(confirmation["plain"]["metrics"]["test_psnr_db"]["mean"])
    assert len(scores) == 4
    assert all(len(arm["trials"]) == 2 for arm in arms)

    sweep.run("export", "--weights", "networks")
    card = (sweep.folder / "networks/tiny/README.md").read_text("utf-8")
    assert f"density ({candidate['density'][0]:.6g})" in card
    assert "the first fresh seed completed by both the confirmed density and" in card
    assert entry["claim"] in card


def test_an_ablation_of_a_study_without_a_confirmation_is_refused(
    sweep: Sweep, study_file: StudyFile
) -> None:
    launch = ("launch", "--cluster", "local", "--study", str(study_file()), "--ablate")

    errors = sweep.run(*launch, status=2)

    assert "has no confirmation, whose density and seeds an ablation takes" in errors
    assert not (sweep.folder / "wconv_runs").exists()
