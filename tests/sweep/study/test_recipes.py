"""Recipes by name fill in what a study leaves out, and nothing else."""

from typing import Any

import pytest

from tests.sweep.tiny import TINY, StudyFile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study


def _load(study_file: StudyFile, *settings: str, **recipe: Any) -> StudyConfig:
    return load_study(str(study_file(recipe=recipe)), settings=settings)


def _classifier(study_file: StudyFile, preset: str) -> StudyConfig:
    return load_study(
        str(
            study_file(
                model={"name": "tiny", "options": {"num_classes": 4}},
                data={"name": "textures"},
                objective={"metric": "accuracy"},
                recipe={"preset": preset},
            )
        )
    )


def test_the_papers_recipe_for_classification_is_what_its_text_says(study_file: StudyFile) -> None:
    recipe = _classifier(study_file, "paper").recipe

    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr) == ("sgd", 0.1)
    assert optimizer.model_dump()["momentum"] == 0.9
    assert (recipe.lr_schedule.name, recipe.epochs) == ("cosine", 200)
    assert recipe.early_stopping is not None
    assert recipe.label_smoothing > 0
    assert recipe.init == "paper"


def test_the_papers_recipe_for_denoising_is_what_its_text_says(study_file: StudyFile) -> None:
    recipe = _load(study_file, preset="paper").recipe

    assert (recipe.optimizer.name, recipe.optimizer.lr) == ("adam", 0.1)
    assert (recipe.lr_schedule.name, recipe.epochs) == ("cosine", 100)
    assert recipe.early_stopping is not None
    assert recipe.init == "paper"
    assert {"fsim", "uiq", "uiq_global"} <= set(recipe.test_metrics)


@pytest.mark.parametrize("preset", ["paper", "tuned"])
def test_what_the_study_says_stands(study_file: StudyFile, preset: str) -> None:
    config = _load(
        study_file,
        preset=preset,
        epochs=3,
        early_stopping=None,
        optimizer={"name": "sgd", "lr": 0.5},
    )

    assert config.recipe.epochs == 3
    assert config.recipe.early_stopping is None
    assert config.recipe.optimizer.model_dump(exclude_defaults=True) == {"name": "sgd", "lr": 0.5}


def test_one_key_of_the_optimizer_can_be_changed_alone(study_file: StudyFile) -> None:
    optimizer = _load(study_file, "lr=0.02", preset="paper").recipe.optimizer

    assert optimizer.model_dump() == {
        "name": "adam",
        "lr": 0.02,
        "implementation": None,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
    }


def test_data_options_are_filled_in_where_the_data_have_them(study_file: StudyFile) -> None:
    config = _load(study_file, "data.options.noise_sigma=15", preset="tuned")
    without = _load(study_file, preset="tuned")

    # photographs has no option `flips`, and keeps its own crops.
    assert config.data.options == TINY["data"]["options"] | {"noise_sigma": 15}
    assert without.data.options == TINY["data"]["options"] | {"noise_sigma": 25}


def test_the_definition_that_is_kept_has_every_value_written_out(study_file: StudyFile) -> None:
    plain = _load(study_file, preset="paper").plain()["recipe"]

    assert plain["preset"] == "paper"
    assert plain["optimizer"]["lr"] == 0.1


def test_an_unknown_preset_is_refused_and_the_known_ones_named(study_file: StudyFile) -> None:
    with pytest.raises(ConfigurationError, match=r"preset: .*'paper' or 'tuned' \(it is 'papr'\)"):
        _load(study_file, preset="papr")


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"recipe": {"preset": "papr"}}, "recipe.preset: must be 'paper' or 'tuned'"),
        ({"recipe": {"preset": "paper"}, "data": None}, "data: must hold `key: value` lines"),
        ({"recipe": {"preset": "paper"}, "data": {}}, "data.name: is required, but missing"),
    ],
)
def test_what_is_wrong_with_a_preset_is_named_beside_all_else(
    study_file: StudyFile, sections: dict[str, Any], problem: str
) -> None:
    path = study_file(seed=-1, **sections)
    # It leaves out what is None.
    empty = "".join(f"{key}:\n" for key, value in sections.items() if value is None)
    path.write_text(path.read_text("utf-8") + empty, "utf-8")

    with pytest.raises(ConfigurationError) as caught:
        load_study(str(path))

    assert len(caught.value.problems) == 2
    assert problem in str(caught.value)
    assert "seed: " in str(caught.value)


def test_a_preset_for_unknown_data_names_the_data(study_file: StudyFile) -> None:
    path = study_file(recipe={"preset": "paper"}, data={"name": "photograps"})

    with pytest.raises(ConfigurationError, match="unknown name 'photograps'; did you mean"):
        load_study(str(path))


def test_a_wrong_value_beside_a_preset_is_named(study_file: StudyFile) -> None:
    with pytest.raises(ConfigurationError, match=r"tiny.yaml:\d+: recipe.epochs: must"):
        load_study(str(study_file(recipe={"preset": "paper", "epochs": 0})))


def test_a_metric_of_another_kind_is_refused(study_file: StudyFile) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _load(study_file, preset="tuned", test_metrics=["fsim", "macro_f1"])

    assert (
        "recipe.test_metrics: has macro_f1, but denoising takes fsim, fsimc, uiq, uiq_global."
        in (str(caught.value))
    )
