"""The surrogate: a smooth response is told from the noise of single runs."""

import numpy as np
import pytest
from scipy.stats import qmc

from wconv_sweep.evidence.surrogate import Surrogate, collapsed, fit

BOUNDS = [(0.5, 1.5)]


def noisy_parabola(trials: int, noise: float, seed: int = 0) -> Surrogate:
    """Fit 30 - 4 (x - 0.9)^2 plus noise on an even grid."""
    density = np.linspace(0.5, 1.5, trials)
    draw = np.random.default_rng(seed).normal(0, noise, trials)
    return fit(density[:, None], 30 - 4 * (density - 0.9) ** 2 + draw, BOUNDS, "maximize")


@pytest.mark.slow
def test_the_mean_names_the_optimum_that_the_luckiest_run_misses() -> None:
    errors, lucky = [], []
    for seed in range(10):
        density = np.linspace(0.5, 1.5, 31)
        value = 30 - 4 * (density - 0.9) ** 2
        value += np.random.default_rng(seed).normal(0, 0.2, 31)
        errors.append(abs(fit(density[:, None], value, BOUNDS, "maximize").best_point()[0] - 0.9))
        lucky.append(abs(density[value.argmax()] - 0.9))

    assert np.mean(errors) < 0.06
    assert np.mean(errors) < np.mean(lucky)


def test_the_noise_of_a_run_is_found() -> None:
    found = [noisy_parabola(41, 0.2, seed).noise_sd for seed in range(5)]

    assert np.mean(found) == pytest.approx(0.2, rel=0.2)


def test_less_is_better_where_the_study_says_so() -> None:
    density = np.linspace(0.5, 1.5, 15)

    surrogate = fit(density[:, None], 3 + (density - 1.2) ** 2, BOUNDS, "minimize")

    assert surrogate.best_point() == pytest.approx((1.2,), abs=0.02)
    mean, sd = surrogate.mean_sd([(1.2,)])
    assert mean == pytest.approx([3.0], abs=0.02)
    assert sd < 0.02


def test_two_coefficients_are_fitted_together() -> None:
    points = np.random.default_rng(0).uniform((0.05, 0.5), (1.0, 1.5), (60, 2))
    values = -((points - (0.3, 0.9)) ** 2).sum(axis=1)

    best = fit(points, values, [(0.05, 1.0), (0.5, 1.5)], "maximize").best_point()

    assert best == pytest.approx((0.3, 0.9), abs=0.03)


def test_the_same_trials_and_seed_name_the_same_density() -> None:
    assert noisy_parabola(21, 0.3).best_point() == noisy_parabola(21, 0.3).best_point()


def test_a_collapsed_run_is_an_outlier_and_no_data() -> None:
    """Median 5, absolute deviations 4 3 2 1 0 1 2 3 4: their median is 2, and 5 - 10 * 2 = -15."""
    values = np.array([-14.5, 2, 3, 4, 5, 6, 7, 8, 9])

    assert not collapsed(values).any()
    assert collapsed(np.array([-15.5, 2, 3, 4, 5, 6, 7, 8, 9])).tolist() == [True] + [False] * 8
    assert collapsed(np.array([np.nan, 2, 3])).tolist() == [True, False, False]


def test_collapsed_runs_change_nothing_but_where_they_are() -> None:
    density = np.linspace(0.5, 1.5, 21)
    value = 30 - 4 * (density - 0.9) ** 2
    fallen = value.copy()
    fallen[-2:] = 5.0

    surrogate = fit(density[:, None], fallen, BOUNDS, "maximize")

    assert (surrogate.trials, surrogate.collapsed) == (19, 2)
    assert surrogate.best_point() == pytest.approx((0.9,), abs=0.02)
    assert surrogate.noise_sd < 0.1


@pytest.mark.parametrize("height", [0.0, 12.0, 200.0])
def test_a_run_far_below_what_the_others_predict_is_not_believed_however_steep_the_response(
    height: float,
) -> None:
    """Noise 1; one run of 36 lies 15 too low, next to the best density."""
    density = np.linspace(0.5, 1.5, 36)
    noise = np.random.default_rng(0).normal(size=36)
    value = -height * (density - 0.9) ** 2 + noise
    fallen = value.copy()
    fallen[16] -= 15

    clean = fit(density[:, None], value, BOUNDS, "maximize")
    spoiled = fit(density[:, None], fallen, BOUNDS, "maximize")

    assert (clean.collapsed, spoiled.collapsed) == (0, 1)
    assert spoiled.noise_sd == pytest.approx(clean.noise_sd, rel=0.1)


def test_the_best_is_not_sought_where_runs_collapsed() -> None:
    """The response rises up to a cliff at 1.3, beyond which every run collapses."""
    density = np.linspace(0.5, 1.5, 21)
    value = np.where(density < 1.3, 20 + density, 2.0)

    best = fit(density[:, None], value, BOUNDS, "maximize").best_point()[0]

    assert 1.2 < best < 1.3


def test_what_may_still_be_gained_shrinks_with_the_trials() -> None:
    few, many = noisy_parabola(7, 0.3), noisy_parabola(200, 0.3)
    grid = np.linspace(0.5, 1.5, 2001)[:, None]

    for surrogate in (few, many):
        mean, sd = surrogate.mean_sd(grid)
        expected = (mean + 2 * sd).max() - mean.max()
        assert surrogate.largest_gain() == pytest.approx(expected, rel=0.02)
    shares = [each.largest_gain() / each.noise_sd for each in (few, many)]
    assert shares[1] < 1 < shares[0]


def test_no_trial_makes_no_surrogate() -> None:
    with pytest.raises(ValueError, match="at least one completed trial"):
        fit(np.empty((0, 1)), [], BOUNDS, "maximize")


def of_best_beside_a_cliff(seed: int, *, is_wary: bool) -> float:
    """Return the true score of the point that ten runs name, in deviations of a run.

    The best is (0.6, 0.5), with a score of 0; where the second coordinate is above 0.65, training
    collapses, to 40 below.
    """

    def truth(points: np.ndarray) -> np.ndarray:
        score = -16 * ((points - (0.6, 0.5)) ** 2).sum(axis=1)
        return np.where(points[:, 1] > 0.65, -40.0, score)

    points = qmc.Sobol(2, seed=seed).random(10)
    value = truth(points) + np.random.default_rng(seed).normal(size=10)
    surrogate = fit(points, value, [(0.0, 1.0)] * 2, "maximize", is_wary=is_wary)
    return float(truth(np.array([surrogate.best_point()]))[0])


@pytest.mark.filterwarnings("ignore:The balance properties of Sobol:UserWarning")
def test_a_wary_surrogate_names_a_good_point_beside_a_cliff_that_few_runs_have_met() -> None:
    wary, bold = (
        [of_best_beside_a_cliff(seed, is_wary=is_wary) for seed in range(12)]
        for is_wary in (True, False)
    )

    assert min(bold) == -40
    assert np.mean(bold) < -3
    assert min(wary) > -4
    assert np.mean(wary) > -1


@pytest.mark.parametrize("depth", [20.0, 1e6, np.inf])
def test_how_far_runs_have_fallen_changes_nothing_for_a_wary_surrogate(depth: float) -> None:
    rate = np.linspace(0, 1, 11)[:, None]
    good = -16 * (rate[:, 0] - 0.3) ** 2 + np.random.default_rng(0).normal(0, 0.3, 11)
    fallen, deeper = (np.where(rate[:, 0] > 0.75, -each, good) for each in (30.0, depth))

    found = [fit(rate, each, [(0.0, 1.0)], "maximize", is_wary=True) for each in (fallen, deeper)]

    assert found[0].best_point() == found[1].best_point()
    assert found[0].best_point() == pytest.approx((0.3,), abs=0.1)
    assert found[0].noise_sd == found[1].noise_sd < 1
