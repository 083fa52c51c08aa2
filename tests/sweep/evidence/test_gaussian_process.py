"""The process of the surrogate is that of scikit-learn, for its one kernel."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from wconv_sweep.evidence.gaussian_process import fit_process
from wconv_sweep.evidence.likelihood import Vector


def trials(number: int, coefficients: int) -> tuple[Vector, Vector]:
    """Return densities, some of them twice, and noisy values of a parabola, standardized."""
    random = np.random.default_rng(coefficients)
    points_NC = random.uniform(-0.2, 1.2, (number, coefficients))
    points_NC[1] = points_NC[0]
    values_N = -((points_NC - 0.4) ** 2).sum(axis=1) + random.normal(0, 0.1, number)
    return points_NC, np.asarray((values_N - values_N.mean()) / values_N.std())


def fit_of_scikit_learn(points_NC: Vector, values_N: Vector) -> GaussianProcessRegressor:
    coefficients = points_NC.shape[1]
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
        [0.5] * coefficients, [(0.2, 5.0)] * coefficients, nu=2.5
    ) + WhiteKernel(0.5, (1e-4, 1e1))
    process = GaussianProcessRegressor(kernel, n_restarts_optimizer=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(points_NC, values_N)


@pytest.mark.parametrize(("number", "coefficients"), [(2, 1), (30, 1), (40, 2), (50, 3)])
def test_a_fit_and_its_predictions_are_those_of_scikit_learn(
    number: int, coefficients: int
) -> None:
    points_NC, values_N = trials(number, coefficients)
    theirs = fit_of_scikit_learn(points_NC, values_N)
    ours = fit_process(points_NC, values_N, seed=0)
    asked_PC = np.random.default_rng(9).uniform(-0.5, 1.5, (20, coefficients))

    mean_P, sd_P = ours.mean_sd(asked_PC)
    expected_P, with_noise_P = theirs.predict(asked_PC, return_std=True)

    assert theirs.log_marginal_likelihood(ours.theta_T) == pytest.approx(
        theirs.log_marginal_likelihood_value_, abs=1e-6
    )
    assert mean_P == pytest.approx(expected_P, abs=1e-3)
    assert np.hypot(sd_P, ours.noise_variance**0.5) == pytest.approx(with_noise_P, abs=1e-3)
    assert ours.mean(asked_PC) == pytest.approx(mean_P, abs=1e-12)


def test_with_the_same_hyper_parameters_predictions_agree_to_rounding() -> None:
    points_NC, values_N = trials(40, 2)
    ours = fit_process(points_NC, values_N, seed=0)
    kernel = ConstantKernel() * Matern([1.0, 1.0], nu=2.5) + WhiteKernel()
    theirs = GaussianProcessRegressor(kernel.clone_with_theta(ours.theta_T), optimizer=None)
    theirs.fit(points_NC, values_N)
    asked_PC = np.random.default_rng(9).uniform(-0.5, 1.5, (20, 2))

    mean_P, sd_P = ours.mean_sd(asked_PC)
    expected_P, with_noise_P = theirs.predict(asked_PC, return_std=True)

    assert mean_P == pytest.approx(expected_P, abs=1e-10)
    assert np.hypot(sd_P, ours.noise_variance**0.5) == pytest.approx(with_noise_P, abs=1e-10)


def test_the_response_is_certain_nowhere_more_than_to_zero() -> None:
    points_NC = np.linspace(0, 1, 30)[:, None]

    _, sd_P = fit_process(points_NC, np.sin(points_NC[:, 0]), seed=0).mean_sd(points_NC)

    assert (sd_P >= 0).all()
    assert np.isfinite(sd_P).all()


def test_threads_that_fit_at_the_same_time_find_the_same() -> None:
    points_NC, values_N = trials(40, 2)
    with ThreadPoolExecutor(4) as pool:
        fits = pool.map(lambda _: fit_process(points_NC, values_N, seed=0).theta_T, range(8))

    first_T, *others = fits
    assert all((theta_T == first_T).all() for theta_T in others)
