"""The card beside an exported network tells how to load it and what its scores are of."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.sweep.searching import launched, study_of
from wconv_jobs.spec import ModelSpec
from wconv_sweep.evidence.results import StudyResult
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.export.model_card import model_card
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import Stage
from wconv_sweep.study.point import Point


@pytest.fixture
def status(sqlite_storage: Storage) -> StudyStatus:
    """A study of which one trial has completed."""
    searcher = launched(sqlite_storage, study_of({"name": "random"}, name="single", trials=3))
    searcher.train(searcher.lease())
    return read_status(sqlite_storage, "single")


def card_of(status: StudyStatus) -> str:
    result = selected_result(status)
    assert result is not None
    return model_card(status, result, {"test_psnr_db": 30.0}, [])


@pytest.mark.parametrize(
    "function", ["model", "json", "safe_open", "load_file", "network", "file", "definition"]
)
def test_a_network_of_the_users_own_is_loaded_whatever_its_function_is_called(
    status: StudyStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    own = f"import torch\n\n\ndef {function}(width):\n    return torch.nn.Linear(width, 1)\n"
    (tmp_path / f"with_{function}.py").write_text(own)
    spec = ModelSpec(name=f"with_{function}:{function}", options={"width": 3})
    config = status.config.model_copy(update={"model": spec})
    trained = torch.nn.Linear(3, 1)
    metadata = {"format": "pt", "model": spec.model_dump_json()}
    save_file(trained.state_dict(), tmp_path / "model.safetensors", metadata)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    (block,) = re.findall(
        r"```python\n(.*?)```", card_of(replace(status, config=config)), re.DOTALL
    )
    found: dict[str, Any] = {}
    exec(block, found)

    assert torch.equal(found["network"].weight, trained.weight)


def of_confirmation(status: StudyStatus, replicate: int, plain: int | None) -> str:
    """Return the card of a run of a confirmation beside a plain run, each of a replicate."""
    assert status.result is not None
    best = replace(status.result.best, stage=Stage.CONFIRM, replicate=replicate)
    beside = None if plain is None else replace(best, replicate=plain)
    return model_card(status, StudyResult(best, beside), {"test_psnr_db": 30.0}, [])


def test_the_card_says_same_seed_only_of_runs_of_the_same_seed(status: StudyStatus) -> None:
    paired = of_confirmation(status, 3, 3)
    unpaired = of_confirmation(status, 2, 1)
    alone = of_confirmation(status, 2, None)

    assert "| plain convolution, same seed |" in paired
    assert "completed by both the confirmed density and plain convolution." in paired
    assert "| plain convolution, seed index 1 |" in unpaired
    assert "| plain convolution, not completed |" in alone
    for card in (unpaired, alone):
        assert "same seed" not in card
        assert "the first fresh seed completed by the confirmed density." in card


def test_the_card_tells_what_each_side_was_trained_with(status: StudyStatus) -> None:
    assert status.result is not None
    key, width = "recipe.optimizer.lr", "model.options.width"
    config = study_of(
        {"name": "random"},
        trials=9,
        also={
            key: {"low": 1e-4, "high": 0.1, "log": True},
            width: {"low": 2, "high": 6, "integer": True},
        },
    )
    point = Point((0.3, 0.9), ((key, 0.02), (width, 6)))
    best = replace(status.result.best, stage=Stage.CONFIRM, point=point)
    plain = replace(best, point=Point((1.0, 1.0), ((key, 0.001), (width, 3))))

    card = model_card(replace(status, config=config), StudyResult(best, plain), {"loss": 0.1}, [])

    assert "* searched with the density: lr 0.02, width 6\n" in card
    assert "* plain convolution beside it: lr 0.001, width 3\n" in card
    assert "'width': 6" in card
