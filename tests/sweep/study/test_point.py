"""A point is stored and trained with all that it holds."""

import json
from pathlib import Path

import pytest

from tests.sweep.searching import study_of
from wconv_sweep.study.point import Point, point_of
from wconv_sweep.study.trial_spec import trial_spec

SETTINGS = (("model.options.depth", 4), ("recipe.optimizer.lr", 0.03125))


@pytest.mark.parametrize("settings", [(), SETTINGS])
def test_a_point_is_read_as_it_was_written(settings: tuple[tuple[str, int | float], ...]) -> None:
    point = Point((0.1, 0.7000000000000001), settings)

    read = point_of(json.loads(json.dumps(point.plain())))

    assert (read, hash(read)) == (point, hash(point))


def test_a_trial_is_trained_with_the_values_of_its_point_and_else_of_the_study() -> None:
    config = study_of({"name": "random"})

    plain = trial_spec(config, Point((0.5, 0.9)), 3, Path("folder"))
    spec = trial_spec(config, Point((0.5, 0.9), SETTINGS), 3, Path("folder"))

    assert (spec.model.options["depth"], spec.recipe.optimizer.lr) == (4, 0.03125)
    recipe = plain.recipe.model_copy(update={"optimizer": spec.recipe.optimizer})
    assert spec == plain.model_copy(update={"recipe": recipe, "model": spec.model})
    assert plain.recipe == config.recipe
