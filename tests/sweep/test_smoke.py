"""Studies at smoke scale: small, and otherwise themselves."""

from pathlib import Path

import pytest

from wconv_sweep.resources import shipped
from wconv_sweep.study_config import load_study


@pytest.mark.parametrize("name", shipped("wconv_studies"))
def test_every_shipped_study_can_be_shrunk(name: str, tmp_path: Path) -> None:
    study = load_study(name)

    small = load_study(name, smoke_folder=tmp_path)

    assert small.study == f"{name}_smoke"
    assert (small.recipe.epochs, small.recipe.batch, small.trial.ranks) == (2, 8, 1)
    assert small.budget.trials == len(study.fixed_points()) + 2
    assert small.model.name == study.model.name
    assert small.recipe.optimizer == study.recipe.optimizer
    assert small.recipe.test_metrics == study.recipe.test_metrics
    assert (small.search, small.fixed, small.kernel_size, small.objective) == (
        study.search,
        study.fixed,
        study.kernel_size,
        study.objective,
    )


def test_data_that_read_files_read_made_up_ones(tmp_path: Path) -> None:
    small = load_study("dncnn_3x3", smoke_folder=tmp_path / "made up")

    assert small.data.options["folder"] == str(tmp_path / "made up" / "div2k")


def test_a_setting_wins_over_the_smoke_scale(tmp_path: Path) -> None:
    small = load_study("quickstart", smoke_folder=tmp_path, settings=["epochs=1", "ranks=2"])

    assert (small.recipe.epochs, small.trial.ranks) == (1, 2)
