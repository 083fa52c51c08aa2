"""The likelihood that a fit climbs is that of scikit-learn, for the surrogate's kernel."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from wconv_sweep.evidence.likelihood import negative_log_likelihood


@pytest.mark.parametrize("coefficients", [1, 2, 3])
def test_value_and_gradient_are_those_of_scikit_learn(coefficients: int) -> None:
    random = np.random.default_rng(coefficients)
    points_NC = random.uniform(-0.2, 1.2, (30, coefficients))
    # Replicates: their distance is zero.
    points_NC[7] = points_NC[8]
    values_N = random.normal(size=30)
    kernel = ConstantKernel() * Matern([1.0] * coefficients, nu=2.5) + WhiteKernel()
    theirs = GaussianProcessRegressor(kernel, optimizer=None).fit(points_NC, values_N)
    ours = negative_log_likelihood(points_NC, values_N)

    for theta_T in random.uniform(-2, 2, (5, coefficients + 2)):
        value, gradient_T = theirs.log_marginal_likelihood(theta_T, eval_gradient=True)
        found, found_T = ours(theta_T)
        assert found == pytest.approx(-value, rel=1e-9)
        assert found_T == pytest.approx(-gradient_T, rel=1e-7, abs=1e-9)


def test_of_one_trial_it_is_the_density_of_a_normal_variable() -> None:
    """Value 2 with a variance of 3 + 1: log(2 pi 4) / 2 + 4 / (2 * 4)."""
    value, gradient_T = negative_log_likelihood(np.array([[0.5]]), np.array([2.0]))(
        np.log([3.0, 0.7, 1.0])
    )

    assert value == pytest.approx(0.5 * np.log(8 * np.pi) + 0.5)
    # (1 - 4 / 4) / 2 * d log K = 0 for both parts of the variance, and no length plays a role.
    assert gradient_T == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
