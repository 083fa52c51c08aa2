"""Samplers by import path: what can be used is, and what cannot is named before the launch."""

import pytest
from optuna.samplers import RandomSampler

from tests.sweep.tiny import StudyFile
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.files import load_study
from wconv_sweep.study.sampler_by_path import make_sampler
from wconv_sweep.study.search_config import OptunaSpec


class Center(RandomSampler):
    """A sampler of the user's."""

    def __init__(self, share: float, seed: int | None = None) -> None:
        super().__init__(seed)
        self.share = share


def problems_of(study_file: StudyFile, **sampler: object) -> str:
    """Return what is wrong with a study that has a sampler by path."""
    search = {"bounds": [[0.5, 1.5]], "sampler": {"name": "optuna", **sampler}}
    with pytest.raises(ConfigurationError) as caught:
        load_study(str(study_file(search=search)))
    return str(caught.value)


def test_a_sampler_is_taken_by_its_import_path(study_file: StudyFile) -> None:
    sampler = {"name": "optuna", "path": f"{__name__}.Center", "options": {"share": 0.5}}
    search = {"bounds": [[0.5, 1.5]], "sampler": sampler}

    spec = load_study(str(study_file(search=search))).search.sampler

    assert isinstance(spec, OptunaSpec)
    made = make_sampler(spec, seed=3)
    assert isinstance(made, Center)
    assert made.share == 0.5


def test_a_sampler_that_cannot_be_used_is_named_with_what_to_do(study_file: StudyFile) -> None:
    assert "cannot be imported" in problems_of(study_file, path="nowhere.Sampler")
    assert "on every node" in problems_of(study_file, path="nowhere.Sampler")
    assert "has no Tpe" in problems_of(study_file, path="optuna.samplers.Tpe")
    assert "not derived from" in problems_of(study_file, path="json.JSONDecoder")
    assert "is abstract" in problems_of(study_file, path="optuna.samplers.BaseSampler")
    assert "name: grid" in problems_of(study_file, path="optuna.samplers.GridSampler")
    assert "name: qmc" in problems_of(study_file, path="optuna.samplers.QMCSampler")
    wrong = problems_of(study_file, path="optuna.samplers.TPESampler", options={"gama": 1})
    assert "search.sampler.options" in wrong
    assert "gama" in wrong
    assert "path" in problems_of(study_file, path="not a path")
