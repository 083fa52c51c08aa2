"""A Gaussian process of the objective as a function of the density, fitted to all trials.

Where other keys are searched, too, each has its coordinates beside those of the density: see
`wconv_sweep.evidence.coordinates`.

The best single run of a noisy search is lucky as often as it is good. The process separates the
noise of a run from the effect of the density, and selects the density by all trials. How much this
helps on simulated flat and noisy optima is in docs/search_benchmark.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wconv_jobs.spec import Density
from wconv_sweep.evidence.gaussian_process import GaussianProcess, fit_process

# Shape letters: N trials, P points, C coefficients.

Vector = NDArray[np.float64]

Snap = Callable[[Vector], Vector]
"""Moves points of the unit cube to the nearest ones that can be trained, e.g. to whole numbers."""

COLLAPSED_MADS = 10.0
"""A run has collapsed when it lies further below the median, in median absolute deviations: 7
standard deviations."""
COLLAPSED_SDS = 4.0
"""It has, too, when it lies further below what all others predict for its density, in standard
deviations. Where the response is steep, the first rule sees too little."""
COLLAPSED_SHARE = 0.1
"""Of all runs, those that the second rule leaves out at most."""
MAX_TRIALS = 400
"""Trials that are fitted, chosen at random if there are more: the cost grows with their cube."""
SURE_SDS = 2.0
"""Deviations of the posterior that hold nearly all of it."""
UPPER_SHARE, FLOOR_SPREADS = 0.75, 3.0
"""Of a wary surrogate, values further below this quantile than so many times its distance from
the best value count as if they were there: how deep runs have fallen says nothing of the good."""
STEP = 1e-7
"""Of differences, in widths of the bounds."""


@dataclass(frozen=True)
class Surrogate:
    """The process fitted to the completed trials of a study; made by `fit`."""

    bounds: tuple[tuple[float, float], ...]
    noise_sd: float
    """Standard deviation of a run about the response, in units of the objective; what a seed does
    to all densities alike is not in it where the trials share one."""
    trials: int
    """Trials that were fitted."""
    collapsed: int
    """Trials that had collapsed: left out, or of a wary surrogate fitted as merely bad."""
    _process: GaussianProcess = field(repr=False)
    _sign: float = field(repr=False)
    _center: float = field(repr=False)
    _scale: float = field(repr=False)
    _kept_NC: Vector = field(repr=False)
    _collapsed_NC: Vector = field(repr=False)
    _seed: int = field(repr=False)
    _snap: "Snap" = field(repr=False)
    _caution_sds: float = field(repr=False)
    """Deviations by which a point's expectation is lowered before it may be called best."""

    def mean_sd(self, points_PC: ArrayLike) -> tuple[Vector, Vector]:
        """Return the expected objective at densities and how uncertain it is.

        Args:
            points_PC: densities, shape (P, C).

        Returns:
            Posterior mean and standard deviation, each of shape (P,), in units of the objective.
            The noise of a single run is not part of the latter.
        """
        mean_P, sd_P = self._posterior(self._unit(points_PC))
        return self._sign * (self._center + self._scale * mean_P), self._scale * sd_P

    def best_point(self) -> Density:
        """Return the density with the best expected objective within the bounds.

        Of a wary surrogate, the one whose objective is best with certainty: its expectation less
        `SURE_SDS` deviations. The search starts from a Sobol sequence and the trained densities,
        refines the best of them, and leaves out points whose nearest trained density has
        collapsed. The same trials and seed give the same density, with four decimals: more would
        mean nothing.
        """
        from scipy.optimize import minimize

        candidates_PC = self._candidates()
        worth_P = self._worth(candidates_PC)
        order = np.argsort(-worth_P, kind="stable")[:5]
        best, best_worth = candidates_PC[order[0]], worth_P[order[0]]
        for start in candidates_PC[order]:
            found = minimize(
                self._falling_worth,
                start,
                method="L-BFGS-B",
                jac=True,
                bounds=[(0.0, 1.0)] * len(self.bounds),
            )
            (point,) = self._snap(found.x[None])
            worth = -self._falling_worth(point)[0]
            if worth > best_worth and self._may_be_best(point[None])[0]:
                best, best_worth = point, worth
        rounded = (round(float(value), 4) for value in self._density(best))
        pairs = zip(rounded, self.bounds, strict=True)
        return tuple(min(max(value, low), high) for value, (low, high) in pairs)

    def largest_gain(self) -> float:
        """Return by how much some density may still beat the best expected one.

        max (mean + `SURE_SDS` sd) - max mean, within the bounds, in units of the objective and
        without the noise of a run. The expected improvement, which is small from the beginning,
        says how much the next trial is worth; this says what is still unknown.
        """
        mean_P, sd_P = self._posterior(self._candidates())
        (best,), _ = self._posterior(self._unit([self.best_point()]))
        return float(self._scale * max(0.0, (mean_P + SURE_SDS * sd_P).max() - best))

    def _posterior(self, unit_PC: Vector) -> tuple[Vector, Vector]:
        """Return mean and deviation of the standardized objective, of which more is better."""
        return self._process.mean_sd(unit_PC)

    def _worth(self, unit_PC: Vector) -> Vector:
        """Return the posterior mean, less some deviations where the surrogate is wary."""
        if not self._caution_sds:
            return self._process.mean(unit_PC)
        mean_P, sd_P = self._posterior(unit_PC)
        return mean_P - self._caution_sds * sd_P

    def _falling_worth(self, unit_C: Vector) -> tuple[float, Vector]:
        """Return minus the worth of a point and its gradient, from differences into the bounds."""
        step_C = np.where(unit_C < 0.5, STEP, -STEP)
        near_PC = np.concatenate([unit_C[None], unit_C + np.diag(step_C)])
        worth_P = self._worth(near_PC)
        return -float(worth_P[0]), -(worth_P[1:] - worth_P[0]) / step_C

    def _candidates(self) -> Vector:
        from scipy.stats import qmc

        coefficients = len(self.bounds)
        sobol = qmc.Sobol(coefficients, seed=self._seed).random_base2(8 + min(coefficients, 3))
        inside_NC = np.clip(self._kept_NC, 0.0, 1.0)
        both_PC = self._snap(np.concatenate([inside_NC, sobol]))
        allowed = both_PC[self._may_be_best(both_PC)]
        return allowed if len(allowed) else inside_NC

    def _may_be_best(self, unit_PC: Vector) -> NDArray[np.bool_]:
        """Return which points lie nearer to a good trial than to a collapsed one."""
        if not len(self._collapsed_NC):
            return np.ones(len(unit_PC), dtype=bool)
        return _distance(unit_PC, self._kept_NC) <= _distance(unit_PC, self._collapsed_NC)

    def _unit(self, points_PC: ArrayLike) -> Vector:
        low_C, high_C = np.array(self.bounds).T
        return np.asarray((np.asarray(points_PC, dtype=float) - low_C) / (high_C - low_C))

    def _density(self, unit_C: Vector) -> Vector:
        low_C, high_C = np.array(self.bounds).T
        return np.asarray(np.clip(low_C + unit_C * (high_C - low_C), low_C, high_C))


def fit(
    densities_NC: ArrayLike,
    values_N: ArrayLike,
    bounds: Sequence[tuple[float, float]],
    direction: Literal["maximize", "minimize"],
    seed: int = 0,
    snap: Snap = lambda unit_PC: unit_PC,
    *,
    is_wary: bool = False,
) -> Surrogate:
    """Fit a Gaussian process with estimated noise to completed trials.

    Kernel: c * Matern(nu = 5/2, one length scale per coefficient) + noise, by maximum likelihood
    with restarts. Densities are scaled to the bounds, values by median and median absolute
    deviation. A value that is not finite, lies more than `COLLAPSED_MADS` median absolute
    deviations on the wrong side of the median, or more than `COLLAPSED_SDS` below what the others
    predict, is that of a collapsed run: it is not fitted, and the best density is not sought next
    to it.

    Args:
        densities_NC: trained densities, shape (N, C).
        values_N: their objective, shape (N,).
        bounds: [low, high] of each coefficient; reference densities may lie outside.
        direction: whether more or less of the objective is better.
        seed: of restarts and candidates; the same trials and seed give the same process.
        snap: of a space in which not every point can be trained.
        is_wary: for spaces in which whole regions collapse, as at high learning rates. Bad values
            are fitted as if they were those of `FLOOR_SPREADS`, so that the model keeps away from
            where they are and yet resolves the good ones, and the best point is one that is
            surely good.

    Raises:
        ValueError: no trial is left to be fitted.
    """
    densities = np.asarray(densities_NC, dtype=float).reshape(-1, len(bounds))
    sign = 1.0 if direction == "maximize" else -1.0
    seen = sign * np.asarray(values_N, dtype=float)
    values = _with_floor(seen) if is_wary else seen
    good = ~collapsed(values)
    if not good.any():
        raise ValueError("a surrogate needs at least one completed trial")
    low_C, high_C = np.array(bounds, dtype=float).T
    unit_NC = (densities - low_C) / (high_C - low_C)
    fewest = good.sum() - int(COLLAPSED_SHARE * good.sum())
    while True:
        fitted = _chosen(good, seed)
        center, scale = _center_and_scale(values[fitted])
        process = fit_process(unit_NC[fitted], (values[fitted] - center) / scale, seed % 2**32)
        residuals = process.left_out_residuals()
        worst = int(residuals.argmin())
        # One after the other: the worst one makes others look bad.
        if residuals[worst] >= -COLLAPSED_SDS or good.sum() == fewest:
            break
        good[fitted[worst]] = False
    noise = float(np.sqrt(process.noise_variance))
    return Surrogate(
        bounds=tuple((float(low), float(high)) for low, high in bounds),
        noise_sd=scale * noise,
        trials=len(fitted),
        collapsed=int((collapsed(seen) | ~good).sum()),
        _process=process,
        _sign=sign,
        _center=center,
        _scale=scale,
        _kept_NC=unit_NC[fitted],
        _collapsed_NC=unit_NC[~good],
        _seed=seed % 2**32,
        _snap=snap,
        _caution_sds=SURE_SDS if is_wary else 0.0,
    )


def collapsed(values_N: Vector) -> NDArray[np.bool_]:
    """Return which values, of which more is better, belong to collapsed runs; see `fit`."""
    finite = np.isfinite(values_N)
    if not finite.any():
        return ~finite
    median = np.median(values_N[finite])
    deviation = np.median(np.abs(values_N[finite] - median))
    if deviation == 0:
        return ~finite
    with np.errstate(invalid="ignore"):
        return np.asarray(~finite | (values_N < median - COLLAPSED_MADS * deviation))


def _with_floor(values_N: Vector) -> Vector:
    """Return values, of which more is better, with the bad ones raised; see `FLOOR_SPREADS`."""
    is_finite_N = np.isfinite(values_N)
    if not is_finite_N.any():
        return values_N
    finite_N = np.where(is_finite_N, values_N, values_N[is_finite_N].min())
    upper = np.quantile(finite_N, UPPER_SHARE)
    return np.asarray(np.maximum(finite_N, upper - FLOOR_SPREADS * (finite_N.max() - upper)))


def _chosen(good_N: NDArray[np.bool_], seed: int) -> NDArray[np.intp]:
    """Return the numbers of the good runs, or of `MAX_TRIALS` of them."""
    good = np.flatnonzero(good_N)
    if len(good) <= MAX_TRIALS:
        return good
    return good[np.random.default_rng(seed).permutation(len(good))[:MAX_TRIALS]]


def _center_and_scale(values_N: Vector) -> tuple[float, float]:
    center = float(np.median(values_N))
    # 1.4826 makes it the standard deviation where the values are Gaussian.
    scale = 1.4826 * float(np.median(np.abs(values_N - center))) or float(values_N.std())
    return center, scale or 1.0


def _distance(points_PC: Vector, trials_NC: Vector) -> Vector:
    """Return the distance of each point to the nearest of some trials."""
    squared_PN = ((points_PC[:, None, :] - trials_NC[None]) ** 2).sum(axis=-1)
    return np.asarray(squared_PN.min(axis=1))
