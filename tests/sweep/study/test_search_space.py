"""The coefficients have the same names for Optuna as for everybody."""

from tests.sweep.searching import study_of
from wconv_sweep.study.search_space import distributions_of


def test_the_first_parameter_is_the_outermost_coefficient() -> None:
    config = study_of({"name": "random"})

    distributions = distributions_of(config)

    assert list(distributions) == ["density_1", "density_2"]
    assert (distributions["density_1"].low, distributions["density_1"].high) == (0.05, 1.0)
    assert (distributions["density_2"].low, distributions["density_2"].high) == (0.5, 1.5)
