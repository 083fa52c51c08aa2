"""A study file is checked against everything that can be known before a job starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.tiny import TINY, StudyFile
from wconv_sweep.clusters.profile import load_profile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import config_of
from wconv_sweep.study.data_files import check_data
from wconv_sweep.study.files import load_study, locate_data
from wconv_sweep.study.resources import shipped

GRID: dict[str, Any] = {"bounds": [[0.5, 1.5]], "sampler": {"name": "grid", "points": [21]}}
PRUNED: dict[str, Any] = {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}}


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_study(str(path))
    return caught.value.problems


@pytest.mark.parametrize("name", shipped("wconv_studies"))
def test_every_shipped_study_is_valid_and_named_like_its_file(name: str) -> None:
    assert load_study(name).study == name


@pytest.mark.parametrize("name", shipped("wconv_slurm_templates"))
def test_every_shipped_profile_is_valid_and_named_like_its_file(name: str) -> None:
    assert load_profile(name).cluster == name


def test_a_profile_without_time_to_train_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{schema: 1, cluster: mine, launcher: local, pilots: 1, gpus_per_pilot: 0,\n"
        " walltime_min: 2}\n"
    )

    with pytest.raises(ConfigurationError, match=r"grace_s \(120 s\) leaves nothing of walltime"):
        load_profile(str(path))


def test_the_plain_baseline_comes_first_and_has_ones(study_file: StudyFile) -> None:
    path = study_file(
        kernel_size=5,
        model={"name": "dncnn", "options": {"kernel_size": 5}},
        search={"bounds": [[0.05, 1], [0.5, 1.5]], "sampler": {"name": "tpe"}},
        reference_densities={"paper": [0.1, 0.9]},
    )

    points = load_study(str(path)).references()

    assert list(points.items()) == [("plain", (1.0, 1.0)), ("paper", (0.1, 0.9))]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"kernel_size": 5, "model": {"name": "dncnn", "options": {"kernel_size": 5}}},
            "search.bounds: has 1 bound, but kernel_size 5 takes 2 (one [low, high] per ring, "
            "outermost first). Give 2, or set kernel_size: 3.",
        ),
        (
            {
                "kernel_size": 5,
                "search": {"bounds": [[0.1, 1.0], [0.5, 1.5]], "sampler": {"name": "tpe"}},
            },
            "model.options.kernel_size: is 3, but the density is for kernel_size 5",
        ),
        ({"kernel_size": 4}, "kernel_size: must be odd (it is 4)"),
        (
            {"budget": {"trials": 0}},
            "budget.trials: must be at least 1 (it is 0)",
        ),
        (
            {"budget": {"trials": 1}, "reference_densities": {"paper": [0.8]}},
            "budget.trials: is 1, but the reference densities take 2. Set at least 2.",
        ),
        (
            {"confirm": {"candidates": 2, "seeds": 5}},
            "budget.trials: is 3, but the reference densities take 1 and the confirmation 15. "
            "Set at least 16.",
        ),
        (
            {
                "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "tpe"}, "seeds": 2},
                "budget": {"trials": 7},
            },
            "budget.trials: leaves 5 for the search, which 2 seeds of each density cannot "
            "share evenly. Set 6 or 8.",
        ),
        (
            {"confirm": {"candidates": 3, "seeds": 2}, "budget": {"trials": 20}},
            "confirm.candidates: is 3, but beside the best expected and the best observed there "
            "are 0 reference densities to compare. Set at most 2.",
        ),
        (
            {"search": GRID | {"seeds": 2}, "confirm": {"candidates": 1, "seeds": 2}},
            "budget.trials: is 3, but 1 reference density and 20 grid points (21, less 1 "
            "among the references), 2 times each, and a confirmation of 4 make 46. Set 46.",
        ),
        (
            {
                "search": GRID | {"stop_when": {"in_a_row": 3, "minimum": 9}},
                "budget": {"trials": 21},
            },
            "search.stop_when: ends a search early, but a grid trains every point.",
        ),
        (
            {"reference_densities": {"plain": [1.0]}},
            "reference_densities.plain: is always part of a study. Remove it.",
        ),
        (
            {"reference_densities": {"paper": [0.1, 0.9]}},
            "reference_densities.paper: has 2 coefficients, but kernel_size 3 takes 1, outermost "
            "first.",
        ),
        (
            {"search": {"bounds": [[1.5, 0.5]], "sampler": {"name": "tpe"}}},
            "search: bounds [1.5, 0.5] must hold low < high",
        ),
        (
            {"search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "cmaes"}}},
            "search.sampler.name: is cmaes, which takes two coefficients or more, but "
            "kernel_size 3 has one. Take tpe or gp.",
        ),
        (
            {"search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "tpee"}}},
            "search.sampler.name: there is no 'tpee'. Did you mean 'tpe'? Known: cmaes, direct-l, "
            "gp, grid, optuna, qmc, random, tpe.",
        ),
        (
            {"search": {"bounds": [[0.5, 1.5]], "sampler": {"startup_trials": 3}}},
            "search.sampler.name: is required, but missing. Known: cmaes, direct-l, gp, ",
        ),
        (
            {"search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "gp", "startup_trial": 3}}},
            "search.sampler.startup_trial: is not a known key. Did you mean 'startup_trials'?",
        ),
        (
            {"search": GRID},
            "budget.trials: is 3, but 1 reference density and 20 grid points (21, less 1 "
            "among the references) make 21. Set 21.",
        ),
        (
            {"search": GRID | {"sampler": {"name": "grid", "step": [0.3]}}},
            "budget.trials: is 3, but 1 reference density and 4 grid points make 5. Set 5.",
        ),
        (
            {"search": GRID | {"sampler": {"name": "grid", "points": [3, 3]}}},
            "search.sampler.points: has 2 values, but search.bounds has 1. Give one per "
            "coefficient, outermost first.",
        ),
        (
            {"search": GRID | {"sampler": {"name": "grid", "step": [1e-6]}}},
            "search.sampler.step: makes 1000001 points, but a study has at most 100000 trials. "
            "Take fewer.",
        ),
        (
            {"search": GRID | {"sampler": {"name": "grid"}}},
            "search.sampler: grid takes either points or step, e.g. points: [21]",
        ),
        (
            {"search": GRID | {"sampler": {"name": "grid", "points": [1]}}},
            "search.sampler.points.0: must be at least 2 (it is 1)",
        ),
        (
            {"search": PRUNED | {"pruner": {"name": "medain"}}},
            "search.pruner.name: there is no 'medain'. Did you mean 'median'? Known: asha, "
            "hyperband, median, none, wilcoxon.",
        ),
        (
            {"search": PRUNED | {"pruner": {"name": "median"}}},
            "search.pruner: median may stop a trial after epoch 11 and later, but never after "
            "the last, and recipe.epochs is 2: it would stop none.",
        ),
        (
            {"search": PRUNED | {"pruner": {"name": "wilcoxon", "startup_epochs": 1}}},
            "search.pruner.startup_epochs: must be at least 2 (it is 1)",
        ),
        (
            {"search": PRUNED | {"pruner": {"name": "wilcoxon", "startup_epochs": 2}}},
            "search.pruner: wilcoxon may stop a trial after epoch 2 and later",
        ),
        (
            {"search": PRUNED | {"pruner": {"name": "asha", "warmup_epochs": 1}}},
            "search.pruner.warmup_epochs: is not a known key.",
        ),
        (
            {"trial": {"ranks": 3}},
            "recipe.batch_size: is 8, which 3 ranks cannot share evenly. Set a multiple of 3.",
        ),
        (
            {"recipe": TINY["recipe"] | {"batch_size": 17}},
            "recipe.batch_size: is 17, but an epoch of data 'photographs' has only 16 samples. "
            "Set it to that or less.",
        ),
        (
            {"recipe": TINY["recipe"] | {"label_smoothing": 0.1}},
            "recipe.label_smoothing: is 0.1, but data 'photographs' has no labels to smooth. Set "
            "it to 0.",
        ),
        (
            {"trial": {"ranks": 2, "per_gpu": 4}},
            "trial.per_gpu: is 4, but only trials of one rank share a GPU, and trial.ranks is 2. "
            "Set one of them to 1.",
        ),
        (
            {"model": {"name": "dncnn", "options": {"kernel_size": 5}}},
            "model.options.kernel_size: is 5, but the density is for kernel_size 3",
        ),
        (
            {"study": "../escape"},
            "study: may contain only letters, digits, _ and -, at most 100, and must begin with "
            "a letter or digit (it is '../escape')",
        ),
        (
            {"reference_densities": {1: [0.5]}},
            "reference_densities: keys must be texts: write this one in quotes (it is 1)",
        ),
        ({"schema": 2}, "schema: must be 1 (it is 2)"),
        ({"model": {"name": "dncn"}}, "model: unknown name 'dncn'; did you mean 'dncnn'?"),
        (
            {"model": {"name": "dncnn", "options": {"widht": 8}}},
            "model: dncnn: unknown option 'widht'; did you mean 'width'?",
        ),
        (
            {"data": {"name": "photograps"}},
            "data: unknown name 'photograps'; did you mean 'photographs'?",
        ),
        ({"objective": {"metric": "psnr"}}, "psnr_db"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_the_remedy(
    study_file: StudyFile, sections: dict[str, Any], expected: str
) -> None:
    problems = problems_of(study_file(**sections))

    assert len(problems) == 1
    assert expected in problems[0]
    assert "tiny.yaml:" in problems[0]


def test_a_grid_that_fits_the_budget_is_taken(study_file: StudyFile) -> None:
    config = load_study(str(study_file(search=GRID, budget={"trials": 21})))

    assert len(config.grid_points()) == 20
    assert config.grid_points()[:4] == [(0.5,), (1.3,), (0.9,), (0.7,)]


def test_problems_of_different_sections_are_named_together(study_file: StudyFile) -> None:
    problems = problems_of(study_file(kernel_size=5, trial={"ranks": 3}, model={"name": "dncn"}))

    assert len(problems) == 3


def test_a_metric_that_the_data_does_not_give_is_refused(study_file: StudyFile) -> None:
    (problem,) = problems_of(study_file(objective={"metric": "accuracy"}))

    assert (
        "objective.metric: is accuracy, but data 'photographs' gives nrmse, psnr_db, ssim."
        in problem
    )


def test_an_image_folder_that_cannot_be_used_is_refused(
    study_file: StudyFile, tmp_path: Path
) -> None:
    folder = tmp_path / "my images"
    folder.mkdir()
    path = study_file(data={"name": "image_folder", "options": {"folder": str(folder)}})

    with pytest.raises(ConfigurationError, match=r"study tiny: data: .*my images.*image"):
        check_data(load_study(str(path)))


def test_the_digest_names_the_definition_and_not_its_spelling(study_file: StudyFile) -> None:
    as_written = load_study(str(study_file()))
    with_default = load_study(str(study_file(seed=0)))
    all_sites = load_study(str(study_file(sites={"include": None, "exclude": []})))
    others = [study_file(seed=1), study_file(sites={"exclude": ["stem"]})]

    assert as_written.digest() == with_default.digest() == all_sites.digest()
    for other in others:
        assert as_written.digest() != load_study(str(other)).digest()


def test_a_definition_survives_the_storage_exactly() -> None:
    study = load_study("quickstart")

    assert config_of(json.loads(json.dumps(study.plain()))) == study
    assert TINY["study"] == "tiny"


# Where the data lie -----------------------------------------------------------------------------


def _with_folder(study_file: StudyFile, folder: str) -> Path:
    return study_file(data={"name": "image_folder", "options": {"folder": folder}})


@pytest.mark.parametrize("folder", ["$MY_DATA/pictures", "${MY_DATA}/pictures"])
def test_a_variable_in_a_data_folder_is_written_out(study_file: StudyFile, folder: str) -> None:
    config = load_study(str(_with_folder(study_file, folder)))

    located = locate_data(config, {"MY_DATA": "/scratch/me"})

    assert located.data.options["folder"] == "/scratch/me/pictures"
    assert config.data.options["folder"] == folder


def test_a_variable_that_is_not_set_is_named_with_two_ways_out(study_file: StudyFile) -> None:
    config = load_study(str(_with_folder(study_file, "$WCONV_SWEEP_DATA")))

    with pytest.raises(ConfigurationError) as caught:
        locate_data(config, {})

    assert str(caught.value) == (
        "study tiny: data.options.folder is $WCONV_SWEEP_DATA, but WCONV_SWEEP_DATA is not set. "
        "Write `export WCONV_SWEEP_DATA=FOLDER` with the folder of your data, or use "
        "--set data.options.folder=FOLDER."
    )


def test_a_variable_that_is_empty_is_no_folder(study_file: StudyFile) -> None:
    config = load_study(str(_with_folder(study_file, "$MY_DATA")))

    with pytest.raises(ConfigurationError, match=r"but MY_DATA is empty. Write `export MY_DATA="):
        locate_data(config, {"MY_DATA": ""})


def test_a_dollar_that_names_nothing_is_refused(study_file: StudyFile) -> None:
    config = load_study(str(_with_folder(study_file, "/data/5$")))

    with pytest.raises(ConfigurationError, match=r"holds a \$ that names no variable. Write \$\$"):
        locate_data(config, {})


def test_a_warm_start_is_for_searches_and_from_others(study_file: StudyFile) -> None:
    grid = GRID | {"warm_start": ["other"]}
    of_itself = PRUNED | {"warm_start": ["tiny"]}

    (problem,) = problems_of(study_file(search=grid, budget={"trials": 21}))
    assert "search.warm_start: is for a search that continues from there" in problem
    (problem,) = problems_of(study_file(search=of_itself))
    assert "search.warm_start: names the study itself" in problem
