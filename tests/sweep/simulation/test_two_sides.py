"""A simulated search of both sides does what a real one does, and shows false gains as such."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sweep.searching import launched, study_of
from tests.sweep.slots.test_arms import ALSO, LR, NORM, tuned
from tests.sweep.tiny import StudyFile, run
from wconv_sweep.evidence.candidates import EXPECTED, Candidates
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.simulation.simulated_study import read_study
from wconv_sweep.simulation.surfaces import SHAPES
from wconv_sweep.simulation.synthetic_trials import train
from wconv_sweep.simulation.two_sides import (
    BOTH,
    WEIGHTED_ALONE,
    outcomes_of,
    sides_cells,
    two_sides,
)
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.config import PLAIN
from wconv_sweep.study.point import Point, SearchArm

SMALL = ("--workers", "2", "--repeats", "2")


def test_one_simulated_worker_tries_the_points_of_a_real_pilot(sqlite_storage: Storage) -> None:
    config = tuned({"name": "tpe", "startup_trials": 3}, trials=2 + 8, confirm=None)
    simulated = train(config, two_sides(config, "bowl", 1), workers=1, trials=10, seed=5)
    values = {each.point: each.value for each in simulated}

    searcher = launched(sqlite_storage, config.model_copy(update={"seed": 5}))
    real = []
    for lease in searcher.leases():
        searcher.density_of(lease)
        rows = read_status(sqlite_storage, "tiny").trials
        point = next(row.point for row in rows if row.trial == lease.trial)
        assert point is not None
        real.append(point)
        searcher.report(lease, 1, values[point])
        searcher.slots.complete(lease, {}, {})

    assert real == [each.point for each in simulated]
    arms = [SearchArm.PLAIN, SearchArm.WEIGHTED] * 5
    assert [each.arm for each in simulated] == arms


@pytest.mark.parametrize("shape", SHAPES)
def test_each_side_has_its_own_best_point(shape: str) -> None:
    config = tuned()
    sides = two_sides(config, shape, seed=3)
    rates = np.geomspace(1e-4, 0.1, 61)

    def best(densities: list[float]) -> tuple[float, Point]:
        points = [
            Point((density,), ((LR, rate), (NORM, norm)))
            for density in densities
            for rate in rates
            for norm in ("none", "batch")
        ]
        return max((sides(point), number, point) for number, point in enumerate(points))[::2]

    plain, weighted = best([1.0]), best([0.51 + 0.02 * step for step in range(50)])

    for value, _ in (plain, weighted):
        assert -0.1 < value <= 0
    apart = [math.log10(float(dict(point.settings)[LR])) for _, point in (plain, weighted)]
    assert 0.02 < abs(apart[0] - apart[1]) < 0.25 * 3 + 0.1


def test_a_side_that_is_not_tuned_shows_a_gain_that_is_none() -> None:
    """Plain convolution loses 1 at the values of the study, and both sides are at their best."""
    config = tuned(trials=2 + 24 + 120, confirm={"candidates": 1, "seeds": 60})
    own = config.reference_points()[PLAIN]
    plain, weighted = (Point((each,), ((LR, 0.01), (NORM, "batch"))) for each in (1.0, 0.8))
    chosen = Candidates({PLAIN: plain}, {EXPECTED: weighted})

    both, alone = outcomes_of(
        config, lambda point: -1.0 if point == own else 0.0, chosen, np.random.default_rng(0)
    )

    assert (both.tuned, alone.tuned) == (BOTH, WEIGHTED_ALONE)
    assert (both.plain_regret, alone.plain_regret, both.weighted_regret) == (0, 1, 0)
    assert both.measured == pytest.approx(0, abs=0.12)
    assert alone.measured == pytest.approx(1, abs=0.12)
    assert both.held >= 0.84
    assert both.claimed[0] <= 0.12
    assert alone.held <= 0.1
    assert alone.claimed[0] >= 0.9
    assert (both.claimed[1], both.claimed[2]) >= (0.9, 1.0)


def test_the_means_are_over_the_studies_of_a_row() -> None:
    config = tuned(confirm={"candidates": 1, "seeds": 60}, trials=2 + 24 + 120)
    own = config.reference_points()[PLAIN]
    weighted = {EXPECTED: Point((0.8,), own.settings)}
    found = [
        one
        for seed in range(3)
        for one in outcomes_of(
            config,
            lambda point: 0.0,
            Candidates({PLAIN: own}, weighted),
            np.random.default_rng(seed),
        )
    ]

    cells = sides_cells(found)

    assert [(cell.tuned, cell.studies) for cell in cells] == [(BOTH, 3), (WEIGHTED_ALONE, 3)]
    shares = [one.held for one in found if one.tuned == BOTH]
    assert cells[0].held == pytest.approx(np.mean(shares))
    assert cells[0].held_error == pytest.approx(np.std(shares, ddof=1) / math.sqrt(3))


def also_file(study_file: StudyFile, **changes: Any) -> str:
    search = {"bounds": [[0.5, 1.5]], "sampler": {"name": "qmc"}, "also": {LR: ALSO[LR]}}
    confirm = {"candidates": 1, "seeds": 3}
    return str(
        study_file(**({"search": search, "confirm": confirm, "budget": {"trials": 17}} | changes))
    )


def test_the_table_and_json_tell_what_each_way_to_tune_claims(
    study_file: StudyFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = also_file(study_file)
    arguments = ("simulate", "--study", study, *SMALL)

    status, output, _ = run(monkeypatch, capsys, *arguments, "--budget", "17")
    lines = output.splitlines()

    assert status == 0
    assert lines[0].split()[:3] == ["workers", "trials", "tuned"]
    assert [" ".join(line.split()[:4]) for line in lines[1:3]] == [
        f"2 17 {BOTH}",
        f"2 17 {WEIGHTED_ALONE}",
    ]
    assert "What is claimed at 0 is false." in output
    # Half of the budget would leave too little to search: the smallest that does not is taken.
    status, output, _ = run(monkeypatch, capsys, *arguments, "--json")
    told = json.loads(output)
    assert status == 0
    assert [(cell["trials"], cell["tuned"]) for cell in told["cells"]] == [
        (trials, each) for trials in (9, 17, 34) for each in (BOTH, WEIGHTED_ALONE)
    ]
    assert {len(cell["claimed"]) for cell in told["cells"]} == {len(told["gains"])}


def test_a_study_that_tunes_weighted_convolution_alone_is_simulated_as_such(
    study_file: StudyFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = also_file(study_file)
    changed = ("--set", "search.arms=weighted", "--budget", "17", "--json")

    status, output, _ = run(monkeypatch, capsys, "simulate", "--study", study, *SMALL, *changed)

    assert status == 0
    assert [cell["tuned"] for cell in json.loads(output)["cells"]] == [WEIGHTED_ALONE]


def test_what_cannot_be_simulated_of_such_a_study_is_refused(
    study_file: StudyFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = also_file(study_file)
    for arguments, expected in (
        (("--plot", f"{tmp_path}/a.png"), "draws searches of the density alone"),
        (("--budget", "8"), "Set at least 9."),
        (("--set", "confirm=null"), "has search.also and no confirmation"),
    ):
        status, _, errors = run(monkeypatch, capsys, "simulate", "--study", study, *arguments)
        assert status == 2
        assert expected in errors
        assert len(errors.splitlines()) == 1


def test_of_a_study_that_ran_the_noise_is_that_of_its_weighted_arm(
    sqlite_storage: Storage,
) -> None:
    config = study_of(
        {"name": "qmc"},
        trials=1 + 40,
        epochs=1,
        bounds=[[0.5, 1.5]],
        confirm={"candidates": 1, "seeds": 2},
        also={LR: ALSO[LR]},
    )
    noise = np.random.default_rng(0)
    searcher = launched(sqlite_storage, config)
    for lease in searcher.leases():
        (density,) = searcher.density_of(lease)
        # A flat response with a standard deviation of 0.1; plain convolution has no noise.
        value = 29.0 if density == 1 else 30 + 0.1 * float(noise.normal())
        searcher.report(lease, 1, value)
        searcher.slots.complete(lease, {}, {})

    found = read_study("tiny", sqlite_storage.url, ())

    assert found.measured is not None
    assert found.measured.noise_sd == pytest.approx(0.1, rel=0.4)
