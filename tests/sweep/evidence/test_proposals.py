"""`status`, `report` and `export` count the densities that were taken when they were proposed."""

import dataclasses
from typing import Any

import pytest

from tests.sweep.searching import launched, study_of
from wconv_sweep.cli.views.status import status_json, status_view
from wconv_sweep.evidence.overview import read_overview
from wconv_sweep.evidence.proposals import Proposals
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.export.entries import export
from wconv_sweep.results.html.study import study_section
from wconv_sweep.results.report.comparison import report
from wconv_sweep.results.report.notes import notes
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import MOVED
from wconv_sweep.study.point import Point

GP: dict[str, Any] = {"name": "gp"}
GRID: dict[str, Any] = {"name": "grid", "points": [3]}
MOVES: dict[float, dict[str, object]] = {0.8: {}, 1.01: {MOVED: [1.0]}}
"""The densities proposed here, with what the sampler noted on them."""


def searched(storage: Storage, sampler: dict[str, Any], seeds: int = 1) -> None:
    """Train a study whose sampler proposes plain convolution the second time."""
    trials = 4 if sampler is GRID else 3 * seeds
    config = study_of(sampler, trials=trials, bounds=[[0.5, 1.5]], seeds=seeds)
    searcher, moves = launched(storage, config), iter(MOVES.items())
    for lease in searcher.leases():
        if lease.point is None:
            density, noted = next(moves)
            point = searcher.slots.set_point(lease, Point((density,)), noted)
            lease = dataclasses.replace(lease, point=point)
        searcher.train(lease, lambda density, _: 30.0 - abs(density[0] - 0.8))


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_proposal_counts_once_however_many_seeds_it_is_trained_with(
    storage: Storage, seeds: int
) -> None:
    searched(storage, GP, seeds)

    assert read_overview(storage, "tiny").proposals == Proposals(made=2, moved=1)


def test_the_points_of_a_grid_are_no_proposals(sqlite_storage: Storage) -> None:
    searched(sqlite_storage, GRID)

    overview = read_overview(sqlite_storage, "tiny")

    assert overview.proposals == Proposals(made=0, moved=0)
    assert not any("moved" in str(part) for part in status_view(overview).renderables)


def test_every_view_of_a_search_says_how_many_proposals_were_moved(
    sqlite_storage: Storage,
) -> None:
    searched(sqlite_storage, GP)

    status = read_status(sqlite_storage, "tiny")
    text = "1 of 2 proposed densities were taken, and moved"
    (entry,) = export(sqlite_storage, "tiny")

    assert text in [str(part) for part in status_view(status).renderables]
    assert status_json(status)["proposals"] == {"made": 2, "moved": 1}
    assert f"{text}." in notes(report(sqlite_storage, "tiny"))[-1]
    assert ("proposals moved", "1 of 2") in study_section(sqlite_storage, status).costs
    assert entry["proposals"] == {"made": 2, "moved": 1}
