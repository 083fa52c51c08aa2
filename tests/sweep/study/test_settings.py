"""`--set`: single keys of a study changed from the command line."""

from typing import Any

import pytest

from tests.sweep.tiny import StudyFile
from wconv_jobs.recipe.lr_schedule import ConstantSpec
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study


def _load(study_file: StudyFile, *settings: str, **sections: Any) -> StudyConfig:
    return load_study(str(study_file(**sections)), settings=settings)


def test_a_key_is_named_whole_or_by_its_last_part(study_file: StudyFile) -> None:
    config = _load(study_file, "epochs=7", "recipe.batch_size=16", "lr=1e-2", "study=other")

    assert (config.recipe.epochs, config.recipe.batch_size) == (7, 16)
    assert config.recipe.optimizer.lr == 0.01
    assert config.study == "other"


def test_the_last_setting_of_a_key_wins(study_file: StudyFile) -> None:
    assert _load(study_file, "epochs=7", "epochs=9").recipe.epochs == 9


def test_values_are_yaml(study_file: StudyFile) -> None:
    config = _load(
        study_file,
        "search.bounds=[[0.6, 1.4]]",
        "reference_densities={paper: [0.8]}",
        "early_stopping={patience: 3}",
        "clip_grad_norm=null",
    )

    assert config.search.bounds == [(0.6, 1.4)]
    assert config.reference_densities == {"paper": [0.8]}
    assert config.recipe.early_stopping is not None
    assert config.recipe.early_stopping.patience == 3


def test_an_option_can_be_added_to_a_choice_that_is_given_by_its_name_alone(
    study_file: StudyFile,
) -> None:
    config = _load(study_file, "lr_schedule=constant", "recipe.lr_schedule.warmup_epochs=1")

    assert config.recipe.lr_schedule == ConstantSpec(name="constant", warmup_epochs=1)


def test_what_a_user_names_is_no_key_of_its_own(study_file: StudyFile) -> None:
    for setting in ("density=[0.8]", "log=true"):
        with pytest.raises(ConfigurationError, match="there is no key"):
            _load(study_file, setting)


def test_options_and_reference_densities_can_be_added(study_file: StudyFile) -> None:
    config = _load(study_file, "model.options.width=6", "reference_densities.paper=[0.8]")

    assert config.model.options == {"depth": 3, "width": 6, "norm": "none"}
    assert config.reference_densities == {"paper": [0.8]}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("epochs", "--set epochs: is not of the form KEY=VALUE, e.g. --set epochs=1"),
        ("epoch=1", "--set epoch=1: there is no key 'epoch'. Did you mean 'epochs'?"),
        (
            "zzz=1",
            "--set zzz=1: there is no key 'zzz'. Options of the network are model.options.NAME, "
            "of the data data.options.NAME.",
        ),
        (
            "name=x",
            "--set name=x: name may be data.name or model.name or recipe.lr_schedule.name or "
            "recipe.optimizer.name or search.pruner.name or search.sampler.name. Write which.",
        ),
        ("batch=4", "--set batch=4: recipe.batch is now recipe.batch_size. Rename the key."),
        (
            "recipe.batch=4",
            "--set recipe.batch=4: recipe.batch: is now recipe.batch_size. Rename the key.",
        ),
        ("epochs=[1", "--set epochs=[1: is not valid YAML: "),
        ("epochs=&a [*a]", "--set epochs=&a [*a]: is not valid YAML: "),
        ("recipe..epochs=1", "there is no key 'recipe..epochs'. Did you mean 'recipe.epochs'?"),
        (
            "model.optionz.width=1",
            "--set model.optionz.width=1: model.optionz: is not a known key. Did you",
        ),
        (
            "search.bounds.0=[1, 2]",
            "--set search.bounds.0=[1, 2]: search.bounds: must be a list",
        ),
        (
            "epochs=0",
            "--set epochs=0: recipe.epochs: must be at least 1 (it is 0)",
        ),
        ("recipe.epoch=1", "--set recipe.epoch=1: recipe.epoch: is not a known key. Did you mean"),
        ("recipe=3", "--set recipe=3: recipe: "),
        (
            "model.options.widht=3",
            "tiny.yaml:4: model: dncnn: unknown option 'widht'; did you mean 'width'?",
        ),
    ],
)
@pytest.mark.slow
def test_a_wrong_setting_is_named_as_it_was_typed(
    study_file: StudyFile, setting: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _load(study_file, setting)

    (text,) = caught.value.problems
    assert problem in text


def test_all_wrong_settings_are_named_at_once(study_file: StudyFile) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _load(study_file, "zzz=1", "epochs", "batch_size=4")

    assert len(caught.value.problems) == 2


def test_a_problem_of_the_file_still_has_its_line(study_file: StudyFile) -> None:
    with pytest.raises(ConfigurationError, match=r"tiny\.yaml:\d+: seed: "):
        _load(study_file, "epochs=1", seed=-1)
