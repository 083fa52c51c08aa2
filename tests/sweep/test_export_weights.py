"""The exported network is the trained one: stock layers, the same score, loadable by its card."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from tests.sweep.tiny import StudyFile, Sweep


@pytest.mark.slow
def test_the_trained_network_is_exported_scored_again_and_loaded_as_its_card_says(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(budget={"trials": 2})
    sweep.run("launch", "--cluster", "local", "--study", str(path))
    sweep.run("export", "--weights", "networks")
    folder = sweep.folder / "networks/tiny"
    card = (folder / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    script = block + "\nprint(sorted({type(layer).__name__ for layer in network.modules()}))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )

    rows = dict(re.findall(r"\| (test_\w+) \| (.*) \|", card))
    this, recorded, plain = rows["test_psnr_db"].split(" | ")
    assert this == recorded != ""
    assert plain != ""
    assert loaded.stdout == "['Conv2d', 'DnCNN', 'ReLU', 'Sequential']\n"
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata()["study"] == "tiny"
    with Image.open(folder / "before_after_1.png") as before_after:
        width, height = before_after.size
    assert width == 3 * height == 3 * 512


@pytest.mark.slow
def test_a_network_that_does_not_reproduce_its_score_is_not_written(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(budget={"trials": 1})
    sweep.run("launch", "--cluster", "local", "--study", str(path))
    _change_weights(sweep.folder / "wconv_runs/tiny/trial_00000/checkpoint.pt")

    refused = sweep.run("export", "--weights", "networks", status=1)
    (sweep.folder / "wconv_runs/tiny/trial_00000/checkpoint.pt").unlink()
    missing = sweep.run("export", "--weights", "networks", status=2)

    assert re.search(r"test_psnr_db of \S+, but trial 0 had \S+\. Nothing was written", refused)
    assert "checkpoint.pt: there is no such file" in missing
    # To delete it, as a trial that goes on is told, would not bring this network back.
    assert "A completed trial is not trained again" in missing
    assert "Delete it" not in missing
    assert not (sweep.folder / "networks").exists()


def _change_weights(path: Path) -> None:
    import torch

    content = torch.load(path, weights_only=True)
    for value in content["model"].values():
        value.zero_()
    torch.save(content, path)
