"""The parameters of a search have the same names and values for Optuna as for everybody."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.sweep.searching import study_of
from wconv_sweep.study.point import Point, SearchArm, Setting
from wconv_sweep.study.search_space import (
    Distribution,
    at_share,
    distributions_of,
    params_of,
    point_at,
    share_of,
    shifted,
    space_of,
)

ALSO = {
    "recipe.optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
    "model.options.width": {"low": 2, "high": 6, "integer": True},
    "model.options.norm": {"choices": ["none", "batch"]},
}
LR = FloatDistribution(1e-4, 1e-2, log=True)
WIDTH = IntDistribution(2, 6)
DOUBLED = IntDistribution(1, 64, log=True)
NORM = CategoricalDistribution(["none", "batch"])


def test_the_first_parameter_is_the_outermost_coefficient() -> None:
    config = study_of({"name": "random"})

    assert distributions_of(config) == {
        "density_1": FloatDistribution(0.05, 1.0),
        "density_2": FloatDistribution(0.5, 1.5),
    }


def test_what_is_searched_together_follows_the_density_and_is_all_that_plain_proposes() -> None:
    config = study_of({"name": "random"}, also=ALSO)
    point = Point(
        (0.1, 0.9),
        (
            ("recipe.optimizer.lr", 0.01),
            ("model.options.width", 3),
            ("model.options.norm", "batch"),
        ),
    )

    params = params_of(config, point)

    assert list(distributions_of(config)) == list(params)
    assert list(space_of(config, SearchArm.WEIGHTED)) == list(params)
    assert list(space_of(config, SearchArm.PLAIN)) == list(ALSO)
    assert point_at(config, params) == point
    plain = point_at(config, dict(point.settings))
    assert plain == Point((1.0, 1.0), point.settings)


@pytest.mark.parametrize(
    ("distribution", "share", "value"),
    [
        (FloatDistribution(0.5, 1.5), 0.25, 0.75),
        (LR, 0.5, pytest.approx(1e-3)),
        (LR, 1.0, 1e-2),
        (WIDTH, 0.0, 2),
        (WIDTH, 0.5, 4),
        (WIDTH, 1.0, 6),
        (DOUBLED, 0.999, 64),
        (NORM, 0.4, "none"),
        (NORM, 1.0, "batch"),
    ],
)
def test_a_share_of_a_range_is_one_of_its_values(
    distribution: Distribution, share: float, value: Setting
) -> None:
    found = at_share(distribution, share)

    assert found == value
    assert type(found) is not float or distribution in (LR, FloatDistribution(0.5, 1.5))


@pytest.mark.parametrize(
    ("distribution", "value", "share"),
    [(LR, 1e-3, 0.5), (WIDTH, 3, 0.25), (DOUBLED, 8, 0.5), (NORM, "batch", 1.0), (WIDTH, 8, 1.5)],
)
def test_a_value_has_a_place_in_its_range(
    distribution: Distribution, value: Setting, share: float
) -> None:
    assert share_of(distribution, value) == pytest.approx(share)


@pytest.mark.parametrize(
    ("distribution", "value", "by", "expected"),
    [
        (LR, 1e-3, 0.25, pytest.approx(10**-2.5)),
        (LR, 1e-3, 0.9, 1e-2),
        (WIDTH, 3, 0.3, 4),
        (WIDTH, 3, -0.9, 2),
        (NORM, "none", 0.5, "none"),
    ],
)
def test_a_value_is_moved_within_its_range(
    distribution: Distribution, value: Setting, by: float, expected: Setting
) -> None:
    assert shifted(distribution, value, by) == expected
