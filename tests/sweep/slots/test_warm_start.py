"""A warm start begins a search where finished studies make it likely, and says when it cannot."""

import itertools
from typing import Any

import pytest
from sqlalchemy import select

from tests.sweep.searching import Curve, Searcher, launched, study_of
from tests.sweep.tiny import StudyFile, run
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.candidates import surrogate_of
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.launching.plan import plan_launch
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots import definitions, studies
from wconv_sweep.slots.warm_start import POINTS, likely_points, to_coefficients, warm_densities
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.slot_plan import GivenPoint
from wconv_sweep.storage.tables import SLOTS, Stage
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

RANDOM = {"name": "random"}
LINE = [[0.5, 1.5]]


def source(storage: Storage, curve: Curve, *, bounds: list[list[float]] = LINE) -> None:
    """Search a study with one coefficient to its end."""
    config = study_of(RANDOM, name="source", trials=25, epochs=1, bounds=bounds)
    launched(storage, config).work(curve)


def peak(density: tuple[float, ...], _: int) -> float:
    """Return a response of the innermost coefficient, best at 0.8."""
    return -20 * (density[-1] - 0.8) ** 2


def warm(**changes: Any) -> StudyConfig:
    """Return a study with two coefficients that starts from the source."""
    arguments: dict[str, Any] = {"trials": 10, "epochs": 1, "warm_start": ["source"]}
    return study_of(RANDOM, name="warm", **(arguments | changes))


def given_of(storage: Storage, study: str) -> list[tuple[str, list[float]]]:
    """Return label and density of the slots of the search that had one from the start."""
    with storage.read() as connection:
        rows = connection.execute(
            select(SLOTS.c.label, SLOTS.c.point)
            .where(SLOTS.c.study == study, SLOTS.c.stage == Stage.SEARCH)
            .order_by(SLOTS.c.position)
        ).all()
    return [(row.label, list(row.point.density)) for row in rows if row.point]


@pytest.mark.parametrize(
    ("density", "coefficients", "expected"),
    [
        ((0.7,), 1, (0.7,)),
        ((0.7,), 2, (1.0, 0.7)),
        ((0.7,), 3, (1.0, 1.0, 0.7)),
        ((0.6, 0.7), 1, (0.7,)),
        ((0.5, 0.6, 0.7), 2, (0.6, 0.7)),
    ],
)
def test_the_innermost_coefficients_are_those_of_each_other(
    density: tuple[float, ...], coefficients: int, expected: tuple[float, ...]
) -> None:
    assert to_coefficients(density, coefficients) == expected


def test_the_search_begins_with_what_the_source_makes_likely(sqlite_storage: Storage) -> None:
    source(sqlite_storage, peak)
    config = warm()

    given = warm_densities(sqlite_storage.url, config)

    surrogate = surrogate_of(*_trials_and_config(sqlite_storage, "source"))
    assert surrogate is not None
    assert given[0].label == "from source"
    # The outer coefficient of 1 is the upper bound, the inner one the source's best.
    assert given[0].point.density == (1.0, round(surrogate.best_point()[0], 6))
    assert given[0].point.density[1] == pytest.approx(0.8, abs=0.05)
    assert all(outer == 1.0 for outer, _ in (each.point.density for each in given))


def _trials_and_config(storage: Storage, study: str) -> tuple[Any, StudyConfig]:
    status = read_status(storage, study)
    return status.trials, status.config


def test_flat_sources_give_densities_far_from_each_other(sqlite_storage: Storage) -> None:
    source(sqlite_storage, lambda density, _: 0.1 * (round(density[0] * 1e6) % 2))
    surrogate = surrogate_of(*_trials_and_config(sqlite_storage, "source"))
    assert surrogate is not None

    points = sorted(point for (point,) in likely_points(surrogate, seed=0))

    assert len(points) == POINTS
    assert points[0] < 0.6
    assert points[-1] > 1.4
    assert all(b - a > 0.15 for a, b in itertools.pairwise(points))


@pytest.mark.slow
def test_a_source_that_is_sure_gives_its_best_density_alone(sqlite_storage: Storage) -> None:
    source(sqlite_storage, peak)  # without noise
    surrogate = surrogate_of(*_trials_and_config(sqlite_storage, "source"))
    assert surrogate is not None

    assert likely_points(surrogate, seed=0) == [surrogate.best_point()]


@pytest.mark.slow
def test_they_are_slots_of_the_search_and_the_sampler_goes_on_from_them(
    sqlite_storage: Storage,
) -> None:
    source(sqlite_storage, lambda density, _: 0.1 * (round(density[0] * 1e6) % 2))
    config = warm()
    given = warm_densities(sqlite_storage.url, config)
    folder = RunFolder.of(sqlite_storage.folder, "warm")
    studies.create_or_extend(sqlite_storage, config, folder, "local", given=given)

    agent = Searcher(sqlite_storage, config)
    trained = [(lease, agent.train(lease)) for lease in agent.leases()]

    begun = [tuple(density) for _, density in given_of(sqlite_storage, "warm")[: len(given)]]
    assert begun == [each.point.density for each in given]
    assert len(trained) == 10
    assert [density for _, density in trained[1 : 1 + len(given)]] == begun
    assert len({density for _, density in trained}) == 10
    agent.mirror.refresh()
    assert {Point(density) for density in begun} < agent.mirror.points


def test_no_more_are_begun_than_the_budget_holds_and_each_on_every_seed(
    sqlite_storage: Storage,
) -> None:
    config = warm(trials=6, seeds=2)
    given = [GivenPoint("from source", Point((1.0, 0.6 + 0.1 * number))) for number in range(4)]
    folder = RunFolder.of(sqlite_storage.folder, "warm")

    studies.create_or_extend(sqlite_storage, config, folder, "local", given=given)

    # The plain baseline takes two of six.
    assert [density[1] for _, density in given_of(sqlite_storage, "warm")] == [0.6, 0.6, 0.7, 0.7]


def test_what_becomes_of_the_source_later_does_not_matter(
    sqlite_storage: Storage, study_file: StudyFile
) -> None:
    source(sqlite_storage, peak)
    search = {"bounds": LINE, "sampler": RANDOM, "warm_start": ["source"]}
    path = str(study_file(study="warm", search=search, budget={"trials": 8}))

    def plan() -> Any:
        return plan_launch(path, "local", sqlite_storage.url, sqlite_storage.folder)

    first = plan()
    assert len(first.given) > 0
    studies.create_or_extend(
        sqlite_storage, first.config, first.folder, "local", given=first.given
    )
    before = given_of(sqlite_storage, "warm")
    first.folder.create(definitions.study_place(sqlite_storage, "warm").uid)
    grown = study_of(RANDOM, name="source", trials=30, epochs=1, bounds=LINE)
    launched(sqlite_storage, grown)  # has five trials to go now

    again = plan()

    assert again.given == []
    assert before == given_of(sqlite_storage, "warm")
    assert len(before) == len(first.given)


def test_a_source_that_is_missing_or_under_way_is_refused_with_the_remedy(
    sqlite_storage: Storage,
) -> None:
    with pytest.raises(StudyError, match=r"names source, which is not in .*Launch it first"):
        warm_densities(sqlite_storage.url, warm())

    config = study_of(RANDOM, name="source", trials=3, epochs=1, bounds=LINE)
    agent = launched(sqlite_storage, config)
    agent.train(agent.lease(), peak)

    with pytest.raises(StudyError, match=r"1 of 3 trials have\. `wconv-sweep resume --study sour"):
        warm_densities(sqlite_storage.url, warm())


def test_without_a_storage_there_is_no_source(
    study_file: StudyFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = {"bounds": LINE, "sampler": RANDOM, "warm_start": ["dncnn_3x3"]}
    path = study_file(search=search)
    monkeypatch.chdir(path.parent)

    arguments = ("launch", "--cluster", "local", "--study", str(path), "--dry-run")
    status, _, errors = run(monkeypatch, capsys, *arguments)

    assert status == 2
    assert "names dncnn_3x3, which is not there yet" in errors
    assert len(errors.splitlines()) == 1
