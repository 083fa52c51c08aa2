"""A simulated study does what a real one does, and its averages are right."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import pytest

from tests.sweep.searching import launched, study_of
from wconv_sweep.simulation.replay import Outcome, cells, simulate, standard_budgets
from wconv_sweep.simulation.surfaces import Surface
from wconv_sweep.simulation.synthetic_trials import shares, train_on
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.study.point import Point

LINE = [[0.5, 1.5]]
HILL = Surface("hill", (0.4,))

CONFIRM = {"candidates": 2, "seeds": 5}

LEARNING: list[dict[str, Any]] = [
    {"name": "tpe", "startup_trials": 4},
    {"name": "direct-l"},
    {"name": "cmaes"},
    {"name": "qmc"},
    {"name": "optuna", "path": "optuna.samplers.NSGAIISampler", "options": {"population_size": 4}},
]


def flat(_: Sequence[float]) -> float:
    return 0.0


@pytest.mark.parametrize("sampler", LEARNING, ids=lambda sampler: sampler["name"])
@pytest.mark.slow
def test_one_simulated_worker_tries_the_densities_of_a_real_pilot(
    sqlite_storage: Storage, sampler: dict[str, Any]
) -> None:
    config = study_of(sampler, trials=20, epochs=1)
    simulated = train_on(config, Surface("bowl", (0.3, 0.6)), workers=1, trials=20, seed=5)
    values = {each.point.density: each.value for each in simulated}

    # The pilot proposes by itself; only the values of its trainings are given.
    real = launched(sqlite_storage, config.model_copy(update={"seed": 5})).work(
        lambda density, _: values[density]
    )

    assert real == [each.point.density for each in simulated[1:]]


def test_what_is_under_way_is_not_known() -> None:
    config = study_of({"name": "tpe", "startup_trials": 2}, bounds=LINE)

    def densities(workers: int, optimum: float) -> list[tuple[float, ...]]:
        response = Surface("bowl", (optimum,))
        return [each.point.density for each in train_on(config, response, workers, 16, seed=1)]

    # 16 workers begin all trials before the first has ended, and cannot know where the best is.
    assert densities(16, optimum=0.2) == densities(16, optimum=0.8)
    assert densities(1, optimum=0.2) != densities(1, optimum=0.8)
    # Of 4, the fifth trial waits for the first.
    assert densities(4, optimum=0.2)[:4] == densities(4, optimum=0.8)[:4]
    assert densities(4, optimum=0.2) != densities(4, optimum=0.8)


def test_a_smaller_budget_is_the_beginning_of_a_larger_one() -> None:
    config = study_of({"name": "tpe"}, bounds=LINE)

    assert train_on(config, HILL, 8, 40, seed=2)[:25] == train_on(config, HILL, 8, 25, seed=2)


def test_a_grid_is_tried_point_by_point_beside_the_reference_densities() -> None:
    config = study_of(
        {"name": "grid", "points": [5]}, bounds=LINE, reference_densities={"far": [0.6]}
    )

    tried = train_on(config, flat, workers=1, trials=6, seed=0)

    assert sorted(each.point.density[0] for each in tried) == [0.5, 0.6, 0.75, 1.0, 1.25, 1.5]
    assert [each.point.density[0] for each in tried[:2]] == [1.0, 0.6]


def test_further_seeds_repeat_a_density_and_draw_another_seed() -> None:
    config = study_of({"name": "tpe", "startup_trials": 4}, bounds=LINE, seeds=2)

    tried = train_on(config, HILL, workers=2, trials=20, seed=0)

    first, second = tried[::2], tried[1::2]
    assert [each.point.density for each in first] == [each.point.density for each in second]
    assert len({each.point.density for each in first}) == 10
    assert all(a.value != b.value for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_a_confirmation_that_does_not_fit_is_left_out_and_a_grid_keeps_its_size() -> None:
    grid = study_of({"name": "grid", "points": [5]}, bounds=LINE, confirm=CONFIRM)

    outcomes = simulate(grid, budgets=[20], workers=[1], repeats=1)

    # Five points, the plain baseline among them, and three densities on five seeds.
    assert {(each.named_by, each.trials) for each in outcomes} == {
        ("observed", 5),
        ("model", 5),
        ("confirmed", 20),
    }


def test_shares_are_those_of_the_bounds() -> None:
    config = study_of({"name": "random"}, bounds=[[0.05, 1.05], [0.5, 1.5]])

    assert shares(config, Point((0.3, 2.0))) == pytest.approx([0.25, 1.5])


@pytest.mark.slow
def test_noise_is_a_seed_sigma_and_the_best_of_21_promises_as_much_as_chance_does() -> None:
    config = study_of({"name": "random"}, bounds=LINE)
    studies = [train_on(config, flat, 8, 21, seed=seed) for seed in range(300)]

    values = [each.value for study in studies for each in study]
    best = statistics.fmean(max(each.value for each in study) for study in studies)

    assert statistics.stdev(values) == pytest.approx(1.0, abs=0.03)
    # The mean of the largest of 21 draws of N(0, 1) is 1.889, its standard deviation 0.52.
    assert best == pytest.approx(1.889, abs=3 * 0.52 / math.sqrt(300))


def test_minimizing_finds_the_same_densities() -> None:
    config = study_of({"name": "tpe", "startup_trials": 3}, bounds=LINE)
    objective = config.objective.model_copy(update={"metric": "nrmse"})
    minimizing = config.model_copy(update={"objective": objective})
    assert minimizing.direction == "minimize"

    first, second = (train_on(each, HILL, 1, 20, seed=4) for each in (config, minimizing))

    def mean_truth(trained: Sequence[Any]) -> float:
        return statistics.fmean(each.truth for each in trained[10:])

    assert mean_truth(second) > -2.0
    assert mean_truth(first) > -2.0


def test_cells_are_means_with_standard_errors() -> None:
    def outcome(regret: float, bias: float, covered: bool) -> Outcome:
        return Outcome("hill", 8, 30, "confirmed", regret, bias, covered)

    outcomes = [outcome(0.1, 0.5, True), outcome(0.2, -0.5, True), outcome(0.6, 0.3, False)]
    other = Outcome("hill", 1, 30, "observed", 0.7, 1.5)

    first, second = cells([*outcomes, other])

    assert (first.workers, first.named_by, first.studies) == (1, "observed", 1)
    assert first.coverage is None
    assert math.isnan(first.regret_error)
    assert second.regret == pytest.approx(0.3)
    # Variance (0.04 + 0.01 + 0.09) / 2 = 0.07, over 3 studies.
    assert second.regret_error == pytest.approx(math.sqrt(0.07 / 3))
    assert second.bias == pytest.approx(0.1)
    assert second.coverage == pytest.approx(2 / 3)


def test_budgets_are_compared_where_the_sampler_has_a_choice() -> None:
    grid = study_of({"name": "grid", "points": [5]}, bounds=LINE, trials=5)

    assert standard_budgets(study_of({"name": "tpe"}, trials=20)) == [10, 20, 40]
    assert standard_budgets(study_of({"name": "tpe"}, trials=2)) == [2, 4]
    assert standard_budgets(grid) == [5]


@pytest.mark.slow
def test_a_simulation_is_the_same_each_time_and_tells_how_far_it_is() -> None:
    config = study_of({"name": "random"}, bounds=LINE, confirm=CONFIRM)
    told: list[tuple[int, int]] = []

    def run() -> list[Outcome]:
        return simulate(
            config,
            budgets=[12, 24],
            workers=[1, 8],
            repeats=1,
            on_study=lambda done, total: told.append((done, total)),
        )

    first = run()

    assert first == run()
    assert told[:8] == [(done, 8) for done in range(1, 9)]
    # 4 surfaces, 2 numbers of workers; the confirmation takes 15 trials and fits into 24 alone.
    assert len(first) == 8 * (2 + 3)
    assert all(each.regret >= -1e-6 for each in first)


@pytest.mark.slow
def test_a_simulated_study_shows_what_naming_by_the_best_run_costs() -> None:
    config = study_of({"name": "tpe"}, bounds=LINE, confirm=CONFIRM)

    found = cells(simulate(config, budgets=[45], workers=[8], repeats=25))

    by = {cell.named_by: cell for cell in found}
    assert by["observed"].bias > 1.2
    assert by["model"].regret < by["observed"].regret
    # Picked by the same seeds that it is published with, of two candidates.
    assert abs(by["confirmed"].bias) < 0.35


@pytest.mark.slow
def test_from_search_to_naming_the_interval_holds_the_true_difference() -> None:
    config = study_of({"name": "random"}, bounds=LINE, confirm=CONFIRM)

    outcomes = simulate(config, budgets=[30], workers=[8], repeats=50, named_by=["confirmed"])

    # A study whose candidates are all plain convolution compares nothing.
    covered = [each.covered for each in outcomes if each.covered is not None]
    assert len(outcomes) == 200
    assert len(covered) > 180
    assert 0.92 <= sum(covered) / len(covered) <= 0.98
