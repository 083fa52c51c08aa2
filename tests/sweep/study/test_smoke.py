"""Studies at smoke scale: small, and otherwise themselves."""

from pathlib import Path
from typing import Any

import pytest

from tests.sweep.tiny import TINY, StudyFile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.files import load_study, locate_data
from wconv_sweep.study.problems import problems_of
from wconv_sweep.study.resources import shipped


@pytest.mark.parametrize("name", shipped("wconv_studies"))
def test_every_shipped_study_can_be_shrunk(name: str, tmp_path: Path) -> None:
    study = load_study(name)

    small = load_study(name, smoke_folder=tmp_path)

    assert (small.study, small.is_smoke) == (f"{name}_smoke", True)
    assert (small.recipe.epochs, small.recipe.batch_size, small.trial.ranks) == (2, 8, 1)
    confirmation = 4 if study.confirm else 0
    assert small.budget.trials == len(study.references()) + 2 + confirmation
    assert small.model.name == study.model.name
    assert small.recipe.optimizer == study.recipe.optimizer
    assert small.recipe.test_metrics == study.recipe.test_metrics
    assert (small.search, small.reference_densities, small.kernel_size, small.objective) == (
        study.search,
        study.reference_densities,
        study.kernel_size,
        study.objective,
    )


def test_data_that_read_files_read_synthetic_ones(tmp_path: Path) -> None:
    small = load_study("dncnn_3x3", smoke_folder=tmp_path / "made up")

    assert small.data.options["folder"] == str(tmp_path / "made up" / "div2k")


def test_a_setting_wins_over_the_smoke_scale(tmp_path: Path) -> None:
    small = load_study("quickstart", smoke_folder=tmp_path, settings=["epochs=1", "ranks=2"])

    assert (small.recipe.epochs, small.trial.ranks) == (1, 2)


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        # The study has 4 ranks, and an epoch of a smoke run 16 crops.
        ("batch_size=50", {"batch_size": 50, "ranks": 1, "crops_per_epoch": 50}),
        ("ranks=16", {"batch_size": 16, "ranks": 16, "crops_per_epoch": 16}),
        ("ranks=3", {"batch_size": 6, "ranks": 3}),
        ("data.options.crops_per_epoch=4", {"batch_size": 4, "crops_per_epoch": 4}),
        ("data.options.crops_per_epoch=24", {"batch_size": 8, "crops_per_epoch": 24}),
        ("per_gpu=2", {"per_gpu": 2, "ranks": 1}),
        ("lr_schedule.warmup_epochs=5", {"epochs": 6, "warmup_epochs": 5}),
        ("confirm.seeds=5", {"trials": 2 + 2 + 10}),
        ("confirm.candidates=3", {"trials": 2 + 2 + 8}),
        ("confirm={candidates: 2, seeds: 3}", {"trials": 2 + 2 + 9}),
        ("search.seeds=2", {"trials": 2 * (2 + 2) + 4}),
    ],
)
def test_the_rest_of_a_smoke_run_goes_with_a_setting(
    setting: str, seen: dict[str, int], tmp_path: Path
) -> None:
    small = load_study("dncnn_3x3", smoke_folder=tmp_path, settings=[setting])

    facts = {
        "batch_size": small.recipe.batch_size,
        "ranks": small.trial.ranks,
        "per_gpu": small.trial.per_gpu,
        "epochs": small.recipe.epochs,
        "warmup_epochs": small.recipe.lr_schedule.warmup_epochs,
        "trials": small.budget.trials,
        "crops_per_epoch": small.data.options["crops_per_epoch"],
    }
    assert facts | seen == facts


def test_a_grid_and_a_pruner_are_too_much_for_the_smoke_scale(
    study_file: StudyFile, tmp_path: Path
) -> None:
    path = study_file(
        search={
            "bounds": [[0.5, 1.5]],
            "sampler": {"name": "grid", "points": [21]},
            "pruner": {"name": "median", "warmup_epochs": 30},
        },
        recipe=TINY["recipe"] | {"epochs": 100},
        budget={"trials": 21},
    )

    small = load_study(str(path), smoke_folder=tmp_path)

    assert (small.search.sampler.name, small.search.pruner.name) == ("random", "none")
    assert small.budget.trials == 3


def test_a_setting_is_known_before_the_study_is_shrunk(tmp_path: Path) -> None:
    small = load_study(
        "quickstart",
        smoke_folder=tmp_path,
        settings=[
            "model.name=nafnet",
            "model.options={}",
            "reference_densities={a: [0.7], b: [0.9], c: [0.8]}",
        ],
    )

    assert small.model.name == "nafnet"
    assert small.budget.trials == 4 + 2 + 4


def test_reference_densities_keep_the_values_that_are_still_searched(
    study_file: StudyFile, tmp_path: Path
) -> None:
    rate, width = "recipe.optimizer.lr", "model.options.width"
    path = study_file(
        search={
            "bounds": [[0.5, 1.5]],
            "sampler": {"name": "random"},
            "also": {rate: {"low": 1e-4, "high": 0.1}, width: {"choices": [2, 4]}},
        },
        reference_densities={"tuned": {"density": [0.8], rate: 1e-3, width: 4}, "paper": [0.9]},
    )

    small = load_study(str(path), smoke_folder=tmp_path)

    assert small.plain()["reference_densities"] == {
        "tuned": {"density": [0.8], rate: 1e-3},
        "paper": [0.9],
    }
    assert problems_of(small) == []


def test_without_a_searched_key_no_arm_is_left_out(study_file: StudyFile, tmp_path: Path) -> None:
    also = {"model.options.width": {"choices": [2, 4]}}
    search = {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}, "also": also}
    path = study_file(search=search | {"arms": "weighted"})

    small = load_study(str(path), smoke_folder=tmp_path)

    assert (small.search.also, small.search.arms) == ({}, "both")


def test_no_setting_makes_a_smoke_run_look_like_the_real_one(tmp_path: Path) -> None:
    small = load_study("quickstart", smoke_folder=tmp_path, settings=["study=mine"])

    assert small.study == "mine_smoke"


def test_synthetic_data_are_never_written_among_real_ones(tmp_path: Path) -> None:
    real = tmp_path / "real"
    settings = [f"data.options.{name}={real}" for name in ("folder", "cache_folder")]

    small = load_study("dncnn_3x3", smoke_folder=tmp_path / "made up", settings=settings)

    assert str(real) not in small.data.options.values()


def test_the_folder_of_all_runs_may_hold_a_dollar(tmp_path: Path) -> None:
    small = locate_data(load_study("dncnn_3x3", smoke_folder=tmp_path / "$HOME 5$"), {})

    assert small.data.options["folder"] == str(tmp_path / "$HOME 5$" / "div2k")


@pytest.mark.parametrize(
    "sections", [{"study": None}, {"budget": 5}, {"recipe": {"epochs": "many"}}]
)
def test_a_wrong_study_is_wrong_at_smoke_scale_too(
    study_file: StudyFile, sections: dict[str, Any], tmp_path: Path
) -> None:
    path = str(study_file(**sections))
    with pytest.raises(ConfigurationError) as whole:
        load_study(path)

    with pytest.raises(ConfigurationError) as small:
        load_study(path, smoke_folder=tmp_path)

    assert small.value.problems == whole.value.problems


@pytest.mark.parametrize("setting", ["ranks=0", "ranks=x", "batch_size=0"])
def test_a_setting_that_is_no_number_of_ranks_or_samples_is_named(
    setting: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"--set {setting}: "):
        load_study("dncnn_3x3", smoke_folder=tmp_path, settings=[setting])


def test_the_network_gets_as_many_classes_as_the_synthetic_data(
    study_file: StudyFile, tmp_path: Path
) -> None:
    path = study_file(
        model={"name": "tiny", "options": {"num_classes": 10}},
        data={"name": "class_folder", "options": {"folder": "/leaves"}},
        objective={"metric": "accuracy"},
    )

    small = load_study(str(path), smoke_folder=tmp_path)

    assert small.model.options["num_classes"] == 4


def test_a_smoke_run_needs_no_source_of_a_warm_start(
    study_file: StudyFile, tmp_path: Path
) -> None:
    search = {"bounds": [[0.5, 1.5]], "sampler": {"name": "tpe"}, "warm_start": ["another"]}

    small = load_study(str(study_file(search=search)), smoke_folder=tmp_path)

    assert small.search.warm_start == []
    assert small.search.sampler.name == "tpe"


def test_a_warm_up_ends_before_a_smoke_run_does(study_file: StudyFile, tmp_path: Path) -> None:
    lr_schedule = {"name": "step", "milestone_epochs": [30], "warmup_epochs": 5}
    path = study_file(recipe=TINY["recipe"] | {"epochs": 60, "lr_schedule": lr_schedule})

    small = load_study(str(path), smoke_folder=tmp_path)

    assert (small.recipe.epochs, small.recipe.lr_schedule.warmup_epochs) == (2, 1)
