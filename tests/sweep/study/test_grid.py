"""A grid is trained point by point, each once, the range first and its details later."""

from itertools import pairwise

import pytest

from tests.sweep.searching import launched, study_of
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import studies
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.grid import grid_points, grid_size
from wconv_sweep.study.search_config import GridSpec


def grid(**options: object) -> GridSpec:
    return GridSpec.model_validate({"name": "grid"} | options)


def test_points_come_from_the_ends_to_the_middle_and_then_between() -> None:
    points = list(grid_points(grid(points=[5]), [(0.5, 1.5)]))

    assert points == [(0.5,), (1.5,), (1.0,), (0.75,), (1.25,)]


def test_a_step_counts_from_the_lower_bound_and_meets_the_upper_one() -> None:
    points = sorted(grid_points(grid(step=[0.1]), [(0.1, 0.7)]))

    assert points == [(0.1,), (0.2,), (0.3,), (0.4,), (0.5,), (0.6,), (0.7,)]


def test_a_step_that_does_not_divide_the_range_stays_inside() -> None:
    assert sorted(grid_points(grid(step=[0.4]), [(0.0, 1.0)])) == [(0.0,), (0.4,), (0.8,)]


def test_the_first_points_of_two_coefficients_are_a_coarser_grid() -> None:
    points = list(grid_points(grid(points=[5, 9]), [(0.0, 1.0), (0.0, 1.0)]))

    assert len(points) == len(set(points)) == grid_size(grid(points=[5, 9]), [(0, 1), (0, 1)])
    assert set(points[:4]) == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}
    assert set(points[:9]) == {(a, b) for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)}


@pytest.mark.parametrize("size", range(2, 40))
def test_every_size_has_every_point_once(size: int) -> None:
    points = [point for (point,) in grid_points(grid(points=[size]), [(0.0, size - 1.0)])]

    assert sorted(points) == list(range(size))
    # No gap is left wider than twice the mean once a third of the points are there.
    early = sorted(points[: size // 3 + 3])
    assert max(b - a for a, b in pairwise(early)) <= 2 * size / (size // 3 + 2)


def test_every_point_is_a_slot_that_a_second_launch_does_not_repeat(storage: Storage) -> None:
    config = study_of(
        {"name": "grid", "points": [3]},
        bounds=[[0.5, 1.5]],
        trials=4,
        reference_densities={"paper": [0.8]},
    )
    agent = launched(storage, config)

    studies.create_or_extend(storage, config, RunFolder.of(storage.folder, "tiny"), "local")
    proposed = agent.work(lambda density, epoch: density[0])

    assert proposed == []
    rows = read_status(storage, "tiny").trials
    assert [(row.stage, row.label, row.density) for row in rows] == [
        ("reference", "plain", (1.0,)),
        ("reference", "paper", (0.8,)),
        # The middle is the plain baseline, which is not trained a second time.
        ("search", None, (0.5,)),
        ("search", None, (1.5,)),
    ]
