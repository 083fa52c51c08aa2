"""A program of the user's that takes the steps of our own trainer ends with its numbers."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.pages import ROOT
from tests.sweep.tiny import TINY, Sweep

EPOCHS = 2
SEARCH = {"bounds": [[0.5, 1.5]], "sampler": {"name": "tpe", "startup_trials": 1}}
SHARED = {"search": SEARCH, "budget": {"trials": 3}, "seed": 5}


def _program_study(folder: Path) -> dict[str, Any]:
    shutil.copytree(ROOT / "tests/same_steps", folder / "code")
    taken = ("model", "data", "recipe")
    own = {key: value for key, value in TINY.items() if key not in taken}
    trainer: dict[str, Any] = {"program": "train.py", "reports": EPOCHS}
    trainer["options"] = {"crops": 16}
    trainer["weights"] = {"network": "parts:network", "score": "parts:score"}
    return own | SHARED | {"study": "program", "code": "code", "trainer": trainer}


def _recorded(sweep: Sweep, study: str) -> list[Any]:
    """Density, scores after each epoch, and state of all trials."""
    trials = optuna.load_study(
        study_name=study, storage=f"sqlite:///{sweep.folder / 'wconv_runs/sweep.db'}"
    ).trials
    return [
        (trial.params, trial.intermediate_values, trial.value, trial.state) for trial in trials
    ]


def _result(sweep: Sweep, study: str) -> Any:
    """Best density, final scores and gain."""
    (entry,) = json.loads(sweep.run("export", "--study", study, "--format", "json"))
    for run in ("best", "plain"):
        metrics = entry[run]["metrics"]
        entry[run]["metrics"] = {name: metrics[name] for name in ("psnr_db", "test_psnr_db")}
    return {key: entry[key] for key in ("density", "claim", "best", "plain", "difference")}


@pytest.mark.slow
def test_a_program_with_our_steps_has_our_numbers_our_result_and_our_network(sweep: Sweep) -> None:
    path = sweep.folder / "program.yaml"
    path.write_text(yaml.safe_dump(_program_study(sweep.folder)), "utf-8")

    for study in (sweep.write_study(**SHARED), path):
        sweep.run("launch", "--cluster", "local", "--study", str(study))

    ours = _recorded(sweep, "tiny")
    assert len(ours) == 3
    assert all(len(scores) == EPOCHS for _, scores, _, _ in ours)
    assert _recorded(sweep, "program") == ours
    assert _result(sweep, "program") == _result(sweep, "tiny")

    sweep.run("export", "--weights", "networks")
    folder = sweep.folder / "networks/program"
    network = load_file(folder / "model.safetensors")
    folded = load_file(sweep.folder / "networks/tiny/model.safetensors")
    card = (folder / "README.md").read_text("utf-8")
    assert network.keys() == folded.keys()
    assert all(torch.equal(network[name], folded[name]) for name in folded)
    assert re.search(r"\| test_psnr_db \| (\S+) \| \1 \| equal to the last digit \|", card)
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "network = build()" in block
