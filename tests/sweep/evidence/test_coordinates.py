"""Points of mixed kinds have places in which a surrogate can tell them apart."""

import math

import numpy as np
import pytest

from tests.sweep.searching import study_of
from tests.sweep.study.test_search_space import ALSO
from wconv_sweep.evidence.coordinates import Coordinates
from wconv_sweep.study.point import Point, SearchArm

CONFIG = study_of({"name": "random"}, also=ALSO)
POINT = Point(
    (0.1, 0.9),
    (("recipe.optimizer.lr", 0.01), ("model.options.width", 3), ("model.options.norm", "batch")),
)


@pytest.mark.parametrize("arm", list(SearchArm))
def test_a_point_is_found_again_at_its_place(arm: SearchArm) -> None:
    space = Coordinates(CONFIG, arm)
    point = POINT if arm is SearchArm.WEIGHTED else Point((1.0, 1.0), POINT.settings)

    place = space.of(point)

    assert space.point(tuple(place)) == point
    assert place[-4:] == [math.log(0.01), 3.0, 0.0, 1.0]
    assert len(place) == len(space.bounds)


def test_a_place_between_values_belongs_to_the_nearest() -> None:
    space = Coordinates(CONFIG, SearchArm.PLAIN)

    snapped = space.snap(np.array([[0.3, 0.3, 0.4, 0.6], [0.3, 0.9, 0.7, 0.6]]))

    # Widths 2 to 6 lie a quarter of the range apart; of the choices one is taken.
    assert snapped.tolist() == [[0.3, 0.25, 0.0, 1.0], [0.3, 1.0, 1.0, 0.0]]
