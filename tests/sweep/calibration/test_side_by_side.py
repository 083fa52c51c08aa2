"""Trials that are measured train a weighted network: plain convolution takes other steps."""

import pytest

from tests.sweep.tiny import TINY
from wconv_jobs.spec import Density
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.search_space import weighted_density


@pytest.mark.parametrize(
    ("bounds", "density"),
    [
        ([[0.5, 1.5]], (0.5,)),
        ([[1.0, 1.5]], (1.5,)),
        ([[1.0, 1.5], [0.2, 2.0]], (1.0, 0.2)),
    ],
)
def test_the_density_is_none_of_plain_convolution(
    bounds: list[list[float]], density: Density
) -> None:
    config = StudyConfig.model_validate(
        TINY | {"search": {"bounds": bounds, "sampler": {"name": "random"}}}
    )

    assert weighted_density(config) == density
