"""Six parameters of mixed kind are proposed as what they are, to both arms alike."""

import math
from collections import Counter
from typing import Any

import pytest
from optuna.trial import TrialState

from tests.sweep.searching import study_of
from wconv_sweep.search.known_trials import KnownTrials
from wconv_sweep.search.sampling import propose
from wconv_sweep.storage.slot_plan import plan_slots
from wconv_sweep.storage.tables import Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.problems import problems_of

NUMBERS: dict[str, Any] = {
    "recipe.optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
    "recipe.optimizer.weight_decay": {"low": 0.0, "high": 0.1},
    "model.options.width": {"low": 2, "high": 16, "integer": True},
    "model.options.depth": {"low": 2, "high": 32, "integer": True, "log": True},
    "data.options.crop_px": {"low": 16, "high": 24, "integer": True},
}
MIXED = NUMBERS | {"model.options.norm": {"choices": ["none", "batch"]}}
ONLY_NUMBERS = NUMBERS | {"recipe.batch_size": {"low": 4, "high": 16, "integer": True}}
EACH = 6
"""Proposals for each arm."""


def proposals(config: StudyConfig, arm: SearchArm, count: int) -> list[Point]:
    """Return what an arm is proposed, one after the other, with a score that depends on all."""
    known, references = KnownTrials(config, arm), config.reference_points().values()
    number = 0
    for point in references:
        if point.is_plain == (arm is SearchArm.PLAIN):
            known.tell(number, point, TrialState.COMPLETE, 1.0)
            number += 1
    found = []
    for turn in range(count):
        known.tell(number)
        position = len(references) + 2 * turn + list(SearchArm).index(arm)
        point = propose(config, known, number, position).point
        values = dict(point.settings)
        score = -abs(math.log10(float(values.get("recipe.optimizer.lr", 0.01))) + 2)
        known.tell(number, point, TrialState.COMPLETE, score - point.density[0])
        found.append(point)
        number += 1
    return found


@pytest.mark.parametrize("arm", SearchArm)
@pytest.mark.parametrize(
    ("sampler", "also"),
    [
        ({"name": "tpe", "startup_trials": 3}, MIXED),
        ({"name": "gp", "startup_trials": 4}, MIXED),
        ({"name": "qmc"}, MIXED),
        ({"name": "random"}, MIXED),
        ({"name": "cmaes"}, ONLY_NUMBERS),
        ({"name": "direct-l"}, ONLY_NUMBERS),
    ],
    ids=lambda value: value.get("name", ""),
)
def test_a_sampler_proposes_values_of_the_kind_of_each_of_six_keys(
    sampler: dict[str, Any], also: dict[str, Any], arm: SearchArm
) -> None:
    config = study_of(sampler, trials=1 + 2 * EACH, bounds=[[0.5, 1.5]], also=also)
    assert problems_of(config) == []

    found = proposals(config, arm, EACH)

    assert len(set(found)) == EACH
    for point in found:
        assert point.is_plain if arm is SearchArm.PLAIN else 0.5 <= point.density[0] <= 1.5
        for key, value in point.settings:
            spec = config.search.also[key]
            assert spec.holds(value), (key, value)
            assert spec.integer is isinstance(value, int), (key, value)


@pytest.mark.parametrize("name", ["tpe", "gp", "qmc", "random"])
def test_a_space_of_few_points_is_proposed_to_its_end(name: str) -> None:
    also = {
        "model.options.norm": {"choices": ["none", "batch"]},
        "recipe.init": {"choices": ["kaiming", "pytorch", "paper"]},
    }
    startup = {"startup_trials": 2} if name in ("tpe", "gp") else {}
    sampler = {"name": name, **startup}
    config = study_of(sampler, trials=1 + 2 * 5, bounds=[[0.5, 1.5]], also=also)
    assert problems_of(config) == []

    found = proposals(config, SearchArm.PLAIN, 5)

    # The study's own values are those of the plain baseline.
    assert len({*found, *config.reference_points().values()}) == 6


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random", "cmaes", "direct-l"])
def test_both_arms_get_equal_numbers_of_proposals(sampler: str) -> None:
    config = study_of(
        {"name": sampler}, trials=1 + 2 * EACH, bounds=[[0.5, 1.5]], also=ONLY_NUMBERS
    )

    arms = [slot.arm for slot in plan_slots(config) if slot.stage is Stage.SEARCH]

    assert Counter(arms) == dict.fromkeys(SearchArm, EACH)
    assert arms[:2] == arms[2:4] == list(SearchArm)
