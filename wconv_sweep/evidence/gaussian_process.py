"""A Gaussian process with the one kernel of the surrogate, fitted by maximum likelihood.

Covariance of two trials: c k(x, x') + s [the same trial], k Matern's kernel of nu = 5/2 with a
length scale per coefficient; see `wconv_sweep.evidence.likelihood`.
"""

import math
from dataclasses import dataclass

import numpy as np

from wconv_sweep.evidence.likelihood import JITTER, Vector, negative_log_likelihood

# Shape letters: N trials, P points, C coefficients, T = C + 2 hyper-parameters.

AMPLITUDE = (1e-2, 1e2)
NOISE = (1e-4, 1e1)
SHORTEST, LONGEST = 0.2, 5.0
"""Length scales, in widths of the bounds. Below, few noisy trials would be interpolated."""
RESTARTS = 3
"""Random starts of the maximization, beside one in the middle."""


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; made by `fit_process`."""

    unit_NC: Vector
    theta_T: Vector
    """log (c, l_1 ... l_C, s)."""
    factor_NN: Vector
    """Lower Cholesky factor L of the covariance K of the trials."""
    weights_N: Vector
    """K^-1 y."""

    @property
    def noise_variance(self) -> float:
        """Variance s of a value about the response."""
        return math.exp(self.theta_T[-1])

    def mean(self, points_PC: Vector) -> Vector:
        """Return the expected response at points, shape (P,)."""
        return np.asarray(self._covariance(points_PC) @ self.weights_N)

    def mean_sd(self, points_PC: Vector) -> tuple[Vector, Vector]:
        """Return the expected response and its standard deviation, without noise: both (P,).

        mean = k' K^-1 y, variance = c - |L^-1 k|^2 (Rasmussen and Williams 2006, algorithm 2.1).
        """
        from scipy.linalg import solve_triangular

        covariance_PN = self._covariance(points_PC)
        solved_NP = solve_triangular(
            self.factor_NN, covariance_PN.T, lower=True, check_finite=False
        )
        variance_P = math.exp(self.theta_T[0]) - (solved_NP**2).sum(axis=0)
        return covariance_PN @ self.weights_N, np.sqrt(np.maximum(variance_P, 0.0))

    def left_out_residuals(self) -> Vector:
        """Return how far each value lies from what all others predict for it, in deviations; (N,).

        (K^-1 y)_n / sqrt((K^-1)_nn) (Rasmussen and Williams 2006, equations 5.10 to 5.12).
        """
        from scipy.linalg import cho_solve

        inverse_NN = cho_solve((self.factor_NN, True), np.eye(len(self.weights_N)))
        return np.asarray(self.weights_N / np.sqrt(np.diag(inverse_NN)))

    def _covariance(self, points_PC: Vector) -> Vector:
        return _matern(points_PC, self.unit_NC, self.theta_T)


def fit_process(unit_NC: Vector, values_N: Vector, seed: int) -> GaussianProcess:
    """Fit a process to trials.

    Args:
        unit_NC: densities in widths of the bounds, shape (N, C).
        values_N: their standardized objective, shape (N,).
        seed: of the random starts; the same trials and seed give the same process.
    """
    from scipy.linalg import cho_solve, cholesky
    from scipy.optimize import minimize

    coefficients = unit_NC.shape[1]
    bounds_T2 = np.log([AMPLITUDE, *[(SHORTEST, LONGEST)] * coefficients, NOISE])
    random = np.random.RandomState(seed)
    starts = [np.log([1.0, *[0.5] * coefficients, 0.5])]
    low_T, high_T = bounds_T2.T
    starts += [np.asarray(random.uniform(low_T, high_T)) for _ in range(RESTARTS)]
    objective = negative_log_likelihood(unit_NC, values_N)
    found = [
        minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds_T2)
        for start in starts
    ]
    theta_T = min(found, key=lambda each: float(each.fun)).x
    covariance_NN = _matern(unit_NC, unit_NC, theta_T)
    np.fill_diagonal(covariance_NN, math.exp(theta_T[0]) + math.exp(theta_T[-1]) + JITTER)
    factor_NN = cholesky(covariance_NN, lower=True, check_finite=False)
    weights_N = cho_solve((factor_NN, True), values_N, check_finite=False)
    return GaussianProcess(unit_NC, theta_T, factor_NN, weights_N)


def _matern(points_PC: Vector, trials_NC: Vector, theta_T: Vector) -> Vector:
    """Return c k between points and trials, shape (P, N)."""
    from scipy.spatial.distance import cdist

    lengths_C = np.exp(theta_T[1:-1])
    t_PN = math.sqrt(5) * cdist(points_PC / lengths_C, trials_NC / lengths_C)
    return np.asarray(math.exp(theta_T[0]) * (1 + t_PN + t_PN**2 / 3) * np.exp(-t_PN))
