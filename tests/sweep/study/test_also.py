"""What is searched together with the density is checked by the schema of each key."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.sweep.searching import study_of
from tests.sweep.tiny import TINY
from wconv_sweep.storage.slot_plan import plan_slots
from wconv_sweep.storage.tables import Stage
from wconv_sweep.study.config import StudyConfig, config_of
from wconv_sweep.study.definition_text import reference_densities_text
from wconv_sweep.study.point import Point, SearchArm
from wconv_sweep.study.problems import problems_of
from wconv_sweep.study.trial_spec import trial_spec

LINE = [[0.5, 1.5]]
LR = {"low": 1e-4, "high": 0.1, "log": True}
WIDTH = {"low": 2, "high": 6, "integer": True}


def problems(
    also: dict[str, Any], *, sampler: str = "random", trials: int = 9, **changes: Any
) -> list[str]:
    """Return what is wrong with a study that searches some keys."""
    config = study_of({"name": sampler}, trials=trials, bounds=LINE, also=also, **changes)
    return [f"{'.'.join(location)}: {text}" for location, text in problems_of(config)]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random"])
def test_numbers_and_choices_of_recipe_network_and_data_are_taken(sampler: str) -> None:
    also = {
        "recipe.optimizer.lr": LR,
        "recipe.batch_size": {"choices": [4, 8]},
        "model.options.width": WIDTH,
        "model.options.norm": {"choices": ["none", "batch"]},
        "data.options.crop_px": {"low": 16, "high": 24, "integer": True},
    }

    assert problems(also, sampler=sampler) == []


@pytest.mark.parametrize(
    ("also", "found"),
    [
        ({"recipe.optimizer.lrr": LR}, "recipe.optimizer.lrr: is not a known key. Did you mean"),
        (
            {"recipe.sptimizer.lr": LR},
            "recipe.sptimizer.lr: is not a known key. Did you mean 'optimizer'?",
        ),
        ({"recipe.optimizer.lr.x": LR}, "recipe.optimizer.lr.x: is not a known key: recipe."),
        ({"recipe.optimizer": {"choices": ["adam", "sgd"]}}, "recipe.optimizer: holds keys,"),
        (
            {"recipe.optimizer.betas": {"choices": [0.9, 0.99]}},
            "recipe.optimizer.betas: is a list",
        ),
        (
            {"recipe.optimizer.lr": LR, "recipe.optimizer.name": {"choices": ["adam", "sgd"]}},
            "recipe.optimizer.name: cannot be 'sgd': it takes no key betas, which the study has.",
        ),
        (
            {"recipe.early_stopping.patience": WIDTH},
            "recipe.early_stopping.patience: has no value",
        ),
        (
            {"model.options.widht": WIDTH},
            "model.options.widht: is not a known key. Did you mean 'width'?",
        ),
        ({"model.options.norm.x": WIDTH}, "model.options.norm.x: is not a known key: model."),
        ({"data.options.crop": WIDTH}, "data.options.crop: is not a known key. Did you mean"),
        ({"lr": LR}, "lr: is not below recipe, model.options or data.options."),
        ({"budget.trials": WIDTH}, "budget.trials: is not below recipe, model.options or"),
        ({"recipe.epochs": WIDTH}, "recipe.epochs: sets how long a trial is"),
        ({"data.options.noise_sigma": LR}, "data.options.noise_sigma: changes the images that"),
        ({"recipe.clip_grad_norm": LR}, "recipe.clip_grad_norm: has no value in the study"),
        (
            {"recipe.optimizer.lr": {"low": 0.01, "high": 0.1}},
            "recipe.optimizer.lr: is 0.003 in the study, which is not one of the values",
        ),
        (
            {"recipe.optimizer.lr": {"low": -1.0, "high": 0.1}},
            "recipe.optimizer.lr: cannot be -1.0: must be greater than 0.",
        ),
        (
            {"recipe.batch_size": {"low": 4.0, "high": 16.0}},
            "recipe.batch_size: cannot be 4.0: must be an integer. Write integer: true.",
        ),
        (
            {"recipe.optimizer.lr": LR, "recipe.dtype": {"choices": ["float64", "float16"]}},
            "recipe.dtype: cannot be 'float16': must be 'float32' or 'float64'.",
        ),
        (
            {"recipe.label_smoothing": {"low": 0.0, "high": 0.2}},
            "recipe.label_smoothing: cannot be 0.1: is 0.1, but data 'photographs' has no labels",
        ),
        (
            {"recipe.optimizer.lr": LR, "recipe.batch_size": {"choices": [8, 32]}},
            "recipe.batch_size: cannot be 32: is 32, but an epoch of data 'photographs' has only",
        ),
        (
            {"model.options.width": {"low": 0, "high": 6, "integer": True}},
            "model.options.width: cannot be 0: model dncnn: option 'width' is 0",
        ),
        (
            {"recipe.optimizer.lr": LR, "model.options.norm": {"choices": ["none", "layer"]}},
            "model.options.norm: cannot be 'layer': model dncnn: option 'norm' is 'layer'",
        ),
        (
            {"model.options.depth": {"choices": [3, 4]}},
            "search.also: has 2 combinations for plain convolution, 1 of them trained as "
            "references, but 4 are to be proposed.",
        ),
    ],
)
def test_a_key_that_cannot_be_searched_is_named_with_its_reason(
    also: dict[str, Any], found: str
) -> None:
    (problem, *more) = problems(also)

    assert more == []
    assert problem.startswith(found if found.startswith("search") else f"search.also.{found}")


def test_keys_that_do_not_fit_each_other_are_named_together() -> None:
    also = {"recipe.optimizer.lr": LR, "recipe.lr_schedule.min_lr": {"low": 0.0, "high": 1e-3}}

    (problem,) = problems(also)

    assert problem == (
        "search.also: cannot be recipe.optimizer.lr 0.0001, recipe.lr_schedule.min_lr 0.001 at "
        "once: lr_schedule.min_lr is 0.001, which is above optimizer.lr (0.0001)."
    )


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, "takes low and high, or choices"),
        ({"low": 1.0}, "takes low and high, or choices"),
        (["none", "batch"], "takes low and high, or choices"),
        (0.1, "takes low and high, or choices"),
        ({"low": 2.0, "high": 1.0}, "low must be less than high"),
        ({"low": 0.0, "high": 1.0, "log": True}, "low must be greater than 0 where log is true"),
        ({"low": 1.5, "high": 3.0, "integer": True}, "must be whole numbers"),
        ({"choices": [1, 2], "low": 1.0}, "takes either choices or low and high"),
        ({"choices": [1, 1]}, "choices must differ"),
    ],
)
def test_values_are_a_range_or_choices(values: Any, found: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(found)):
        study_of({"name": "random"}, also={"recipe.optimizer.lr": values})


@pytest.mark.parametrize(
    ("sampler", "also", "found"),
    [
        ({"name": "grid", "points": [3, 3]}, {"recipe.optimizer.lr": LR}, "is grid, which takes"),
        (
            {"name": "direct-l"},
            {"model.options.norm": {"choices": ["none", "batch"]}, "recipe.optimizer.lr": LR},
            "is direct-l, which takes numbers alone, not choices.",
        ),
        ({"name": "cmaes"}, {"recipe.optimizer.lr": LR}, "is cmaes, which takes two parameters"),
    ],
)
def test_a_sampler_says_what_it_does_not_take(
    sampler: dict[str, Any], also: dict[str, Any], found: str
) -> None:
    config = study_of(sampler, trials=9, bounds=LINE, also=also)

    (problem,) = problems_of(config)

    assert problem[0] == ("search", "sampler", "name")
    assert problem[1].startswith(found)


def test_both_arms_get_the_same_number_of_proposals() -> None:
    assert problems({"recipe.optimizer.lr": LR}, trials=10) == [
        "budget.trials: leaves 9 for the search, which plain and weighted convolution cannot "
        "share evenly. Set 9 or 11."
    ]


def test_a_study_without_it_is_the_one_that_it_was() -> None:
    config = StudyConfig.model_validate(TINY)
    with_it = study_of({"name": "random"}, also={"recipe.optimizer.lr": LR})

    assert "also" not in config.plain()["search"]
    assert config_of(with_it.plain()) == with_it
    assert with_it.digest() != study_of({"name": "random"}).digest()


TUNED = {"density": [0.8], "recipe.optimizer.lr": 1e-3}


def test_a_reference_density_may_come_with_the_values_that_it_was_found_with() -> None:
    also = {"recipe.optimizer.lr": LR, "model.options.width": WIDTH}
    given = {
        "tuned": TUNED,
        "slow": {"density": [1.0], "recipe.optimizer.lr": 5e-4},
        "paper": [0.9],
    }
    config = study_of(
        {"name": "random"}, trials=12, bounds=LINE, also=also, reference_densities=given
    )
    points = config.reference_points()

    assert problems_of(config) == []
    assert config_of(config.plain()) == config
    assert config.plain()["reference_densities"] == given
    own = dict(config.own_settings()) | {"recipe.optimizer.lr": 1e-3}
    assert points["tuned"] == Point((0.8,), tuple(own.items()))
    assert points["paper"] == Point((0.9,), config.own_settings())
    assert trial_spec(config, points["tuned"], 0, Path()).recipe.optimizer.lr == 1e-3
    assert "tuned (0.8), lr 0.001, slow (1), lr 0.0005, paper (0.9)" in (
        reference_densities_text(config)
    )
    # One of ones is plain convolution, whose best point it helps to find.
    arms = {slot.label: slot.arm for slot in plan_slots(config) if slot.stage == Stage.REFERENCE}
    plain, weighted = SearchArm.PLAIN, SearchArm.WEIGHTED
    assert arms == {"plain": plain, "tuned": weighted, "slow": plain, "paper": weighted}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (
            TUNED | {"recipe.batch_size": 4},
            "has recipe.batch_size, which is not in search.also. Search it, or remove it here.",
        ),
        (
            {"density": [0.8], "recipe.optimizer.lr": 1.0},
            "has recipe.optimizer.lr 1.0, which is not one of the values that are searched. Take "
            "one of them ([0.0001, 0.1], log), or widen them.",
        ),
        (
            TUNED | {"model.options.width": 4.0},
            "cannot be trained: model dncnn: option 'width' is 4.0",
        ),
        (
            {"density": [0.8, 0.9]},
            "has 2 coefficients, but kernel_size 3 takes 1, outermost first.",
        ),
    ],
)
def test_a_value_that_a_reference_density_cannot_have_is_named(
    reference: dict[str, Any], found: str
) -> None:
    also = {"recipe.optimizer.lr": LR, "model.options.width": WIDTH}

    (problem,) = problems(also, trials=10, reference_densities={"tuned": reference})

    assert problem.startswith(f"reference_densities.tuned: {found}")


def test_without_a_search_of_its_key_a_reference_density_has_no_value() -> None:
    config = study_of({"name": "random"}, bounds=LINE, reference_densities={"tuned": TUNED})

    assert problems_of(config) == [
        (
            ("reference_densities", "tuned"),
            "has recipe.optimizer.lr, which is not in search.also. Search it, or remove it here.",
        )
    ]


def test_weighted_convolution_alone_has_all_the_proposals() -> None:
    also = {"recipe.optimizer.lr": LR}

    assert problems(also, trials=10, arms="weighted") == []
    assert problems(also, trials=10, arms="weighted", sampler="cmaes") == []
    assert problems({}, arms="weighted") == [
        "search.arms: is weighted, but without search.also there are no two arms. Remove it."
    ]
