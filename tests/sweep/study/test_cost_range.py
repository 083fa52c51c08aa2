"""A search that changes what trials cost is costed where it is cheapest and dearest."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.searching import study_of
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.cost_range import cost_range
from wconv_sweep.study.facts import study_facts
from wconv_sweep.study.point import Point
from wconv_sweep.study.trial_spec import config_at

LR = {"recipe.optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}}
COSTLY: dict[str, Any] = {
    "recipe.batch_size": {"choices": [8, 2, 4]},
    "model.options.width": {"low": 2, "high": 6, "integer": True},
    "model.options.norm": {"choices": ["none", "batch"]},
    "data.options.crops_per_epoch": {"low": 8, "high": 32, "integer": True},
}


def searching(also: dict[str, Any], **sections: Any) -> StudyConfig:
    config = study_of({"name": "random"}, bounds=[[0.5, 1.5]], also=also)
    return StudyConfig.model_validate(config.plain() | sections)


def test_no_corner_costs_less_than_the_cheapest_or_more_than_the_dearest() -> None:
    config = searching({**LR, **COSTLY}, trial={"per_gpu": 2})
    found = cost_range(config)
    own = study_facts(config)
    corners = []
    for values in product((2, 8), (2, 6), ("none", "batch"), (8, 32)):
        there = config_at(config, Point((1.0,), tuple(zip(COSTLY, values, strict=True))))
        facts = study_facts(there)
        assert facts.network is not None
        corners.append((facts.network.macs * values[3], facts.memory_bytes))

    assert found is not None
    assert own.costs == found
    assert own.network is not None
    assert own.most_memory_bytes == found.dearest.memory_bytes
    of_own = own.network.macs * 16
    shown = [
        (round(each.operations * of_own), each.memory_bytes)
        for each in (found.cheapest, found.dearest)
    ]
    assert shown == [min(corners), max(corners)]
    assert found.cheapest_at == tuple(zip(COSTLY, (2, 2, "none", 8), strict=True))
    assert found.dearest_at == tuple(zip(COSTLY, (8, 6, "batch", 32), strict=True))


@pytest.mark.parametrize(
    "also",
    [{}, LR, LR | {"recipe.init": {"choices": ["pytorch", "kaiming"]}}],
    ids=["nothing", "a learning rate", "initial weights"],
)
def test_where_all_trials_cost_the_same_there_is_no_range(also: dict[str, Any]) -> None:
    config = searching(also)

    assert cost_range(config) is None
    facts = study_facts(config)
    assert facts.most_memory_bytes == facts.memory_bytes


def test_a_network_that_cannot_be_built_somewhere_in_the_space_is_found(tmp_path: Path) -> None:
    (tmp_path / "narrow.py").write_text(
        "from torch import nn\n"
        "def build(width: int = 4):\n"
        "    assert width < 6, 'too wide'\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1),\n"
        "                         nn.Conv2d(width, 3, 3, padding=1))\n"
    )
    width = {"model.options.width": COSTLY["model.options.width"]}
    model = {"name": "narrow:build", "options": {"width": 4}}

    with pytest.raises(ConfigurationError) as caught:
        study_facts(searching(width, model=model, code=str(tmp_path)))

    (problem,) = caught.value.problems
    assert problem.startswith(
        "study tiny: search.also: no network can be built at model.options.width 6. Leave such "
    )
    assert "too wide" in problem
