"""The likelihood of trials under a Gaussian process, for the one kernel of the surrogate.

Most of a fit's time goes here. The distances of all pairs of trials are computed once, and not in
each step of the optimizer.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Shape letters: N trials, C coefficients, P pairs of different trials, T = C + 2 hyper-parameters.

Vector = NDArray[np.float64]
Objective = Callable[[Vector], tuple[float, Vector]]

JITTER = 1e-10
"""Added to the diagonal, for trials that are nearly equal."""


def negative_log_likelihood(unit_NC: Vector, values_N: Vector) -> Objective:
    """Return the function of the hyper-parameters that a fit minimizes.

    For K = c k + s I, where k is Matern's kernel of nu = 5/2,
    k = (1 + t + t^2 / 3) exp(-t) with t^2 = 5 sum_C ((x_C - x'_C) / l_C)^2:

        -log p(y) = y' K^-1 y / 2 + log det K / 2 + N log(2 pi) / 2

    (Rasmussen and Williams 2006, equations 2.30 and 5.9).

    Args:
        unit_NC: trained densities, shape (N, C).
        values_N: their standardized objective, shape (N,).

    Returns:
        A function of theta_T = log (c, l_1 ... l_C, s), that gives the
        value and its gradient, shape (T,).
    """
    from scipy.linalg import lapack

    trials, coefficients = unit_NC.shape
    row_P, column_P = np.tril_indices(trials, -1)
    squared_CP = (unit_NC[row_P] - unit_NC[column_P]).T ** 2
    constant = 0.5 * trials * math.log(2 * math.pi)

    def objective(theta_T: Vector) -> tuple[float, Vector]:
        amplitude, noise = np.exp(theta_T[0]), np.exp(theta_T[-1])
        scaled_CP = squared_CP * np.exp(-2 * theta_T[1:-1])[:, None]
        t_P = np.sqrt(5 * scaled_CP.sum(axis=0))
        decay_P = amplitude * np.exp(-t_P)
        covariance_P = (1 + t_P + t_P**2 / 3) * decay_P
        covariance_NN = np.zeros((trials, trials), order="F")
        covariance_NN[row_P, column_P] = covariance_P
        np.fill_diagonal(covariance_NN, amplitude + noise + JITTER)
        factor_NN, failed = lapack.dpotrf(covariance_NN, lower=1, overwrite_a=1)
        if failed:
            return math.inf, np.zeros(coefficients + 2)
        log_determinant = 2 * np.log(factor_NN.diagonal()).sum()
        weights_N, _ = lapack.dpotrs(factor_NN, values_N, lower=1)
        inverse_NN, _ = lapack.dpotri(factor_NN, lower=1, overwrite_c=1)
        # d log p / d K = (w w' - K^-1) / 2: each pair is in it twice, the diagonal once.
        slope_P = weights_N[row_P] * weights_N[column_P] - inverse_NN[row_P, column_P]
        slope = 0.5 * float((weights_N**2 - inverse_NN.diagonal()).sum())
        # d k / d log l_C = 5/3 (1 + t) exp(-t) ((x_C - x'_C) / l_C)^2
        by_length_C = scaled_CP @ (5 / 3 * slope_P * (1 + t_P) * decay_P)
        by_amplitude = float(slope_P @ covariance_P) + slope * amplitude
        gradient_T = np.concatenate([[by_amplitude], by_length_C, [slope * noise]])
        value = 0.5 * float(values_N @ weights_N) + 0.5 * float(log_determinant) + constant
        return value, -gradient_T

    return objective
