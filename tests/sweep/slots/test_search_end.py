"""A search may end before its budget, and its slots still all end, with a reason."""

import math
import random

import pytest

from tests.sweep.searching import Curve, launched, study_of
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.slots.table import NoSlot
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import SlotState
from wconv_sweep.study.config import StudyConfig

BOUNDS = [[0.5, 1.5]]


def study(trials: int = 40, minimum: int = 10, **more: object) -> StudyConfig:
    return study_of(
        {"name": "qmc"},
        trials=trials,
        bounds=BOUNDS,
        stop_when={"in_a_row": 2, "minimum": minimum},
        **more,  # type: ignore[arg-type]
    )


def noisy(height: float) -> Curve:
    """Return a parabola of a height, with noise 0.1 that depends on the density alone."""

    def curve(density: tuple[float, ...], _: int) -> float:
        return -height * (density[0] - 0.8) ** 2 + random.Random(density[0]).gauss(0, 0.1)

    return curve


def test_where_the_density_has_no_effect_the_search_ends_at_its_minimum(storage: Storage) -> None:
    searcher = launched(storage, study(confirm={"candidates": 1, "seeds": 2}, trials=44))

    searcher.work(noisy(0.0))

    status = read_status(storage, "tiny")
    skipped = [row for row in status.trials if row.state is SlotState.SKIPPED]
    assert status.complete
    assert status.counts[SlotState.COMPLETE] + len(skipped) == 44
    assert 10 <= status.counts[SlotState.COMPLETE] - 4 < 30
    assert "no density could be better" in str(skipped[0].reason)
    assert all(row.trial is None for row in skipped)
    assert [row.stage for row in status.trials[-4:]] == ["confirm"] * 4


def test_a_peak_that_is_not_known_well_yet_is_searched_beyond_the_minimum(
    sqlite_storage: Storage,
) -> None:
    """Of five noises. No single trial is expected to improve on it by much, from the beginning."""

    def peak(density: tuple[float, ...], _: int) -> float:
        noise = random.Random(density[0]).gauss(0, 0.1)
        return 0.5 * math.exp(-((density[0] - 0.83) ** 2) / (2 * 0.1**2)) + noise

    config = study(confirm={"candidates": 1, "seeds": 3}, trials=26)
    searcher = launched(sqlite_storage, config)

    searcher.work(peak)

    assert read_status(sqlite_storage, "tiny").counts[SlotState.SKIPPED] == 0


@pytest.mark.slow
def test_never_before_the_minimum(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study(trials=30, minimum=25))

    searcher.work(noisy(0.0))

    assert read_status(sqlite_storage, "tiny").counts[SlotState.COMPLETE] >= 25


def test_without_a_rule_the_budget_is_spent(sqlite_storage: Storage) -> None:
    config = study_of({"name": "qmc"}, trials=16, bounds=BOUNDS)
    searcher = launched(sqlite_storage, config)

    searcher.work(noisy(0.0))

    assert read_status(sqlite_storage, "tiny").counts[SlotState.COMPLETE] == 16


def test_a_trial_that_was_interrupted_is_trained_to_its_end(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study())
    searcher.train(searcher.lease(), noisy(0.0))
    begun = searcher.lease()
    searcher.report(begun, 1, searcher.density_of(begun)[0])
    searcher.slots.interrupt(begun, "its time was up")

    searcher.work(noisy(0.0))

    status = read_status(sqlite_storage, "tiny")
    assert searcher.slots.lease("node/pilot-0/1") is NoSlot.END
    assert status.trials[begun.position].state is SlotState.COMPLETE
    assert status.counts[SlotState.SKIPPED] > 0
