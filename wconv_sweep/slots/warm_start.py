"""Promising densities for a new study, from finished studies of related networks.

A density that serves one network, or a 3x3 kernel, often serves another. Only the
places to look first are taken over: the values of one study say nothing about another's. So each
source gives a few densities, which the new study trains as the first of its search. They are
written into its slots at its launch; later changes of the source do not matter.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import URL

from wconv_jobs.seeding import derive_seed
from wconv_jobs.spec import Density
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.candidates import surrogate_of
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.evidence.surrogate import Surrogate
from wconv_sweep.storage.open_storage import Storage, has_storage, open_storage
from wconv_sweep.storage.slot_plan import GivenPoint
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point

POINTS = 4
"""Densities taken from each source."""
APART = 0.05
"""Least distance of two of them, as a share of the bounds: nearer ones would add nothing."""
CANDIDATES = 256
"""Densities among which those beside the best are sought."""


@dataclass(frozen=True)
class _Source:
    study: str
    surrogate: Surrogate


def warm_densities(url: URL, config: StudyConfig) -> list[GivenPoint]:
    """Return the densities that a new study trains first; none without `search.warm_start`.

    Of each source: the maximum of its surrogate's mean, then those farthest from what is chosen
    whose mean is less than the noise of a run below it. They are mapped to this study's
    coefficients by `to_coefficients` and moved into its bounds.

    Args:
        url: of the storage, which must hold the sources.
        config: the new study.

    Raises:
        StudyError: a source is missing, has not ended or has no completed trial.
    """
    if not config.search.warm_start:
        return []
    found: list[GivenPoint] = []
    known = set(config.references().values())
    for source in _sources(url, config):
        seed = derive_seed(config.seed, "warm start", source.study)
        for point in likely_points(source.surrogate, seed):
            density = _within(config, to_coefficients(point, len(config.search.bounds)))
            if density not in known:
                known.add(density)
                found.append(GivenPoint(f"from {source.study}"[:100], Point(density)))
    return found


def to_coefficients(point: Sequence[float], coefficients: int) -> Density:
    """Return a density of another kernel size, matched from the innermost coefficient outwards.

    A larger kernel has further coefficients outside, which are 1, as in plain convolution; a
    smaller one leaves the outer ones out.
    """
    return (1.0,) * (coefficients - len(point)) + tuple(point)[-coefficients:]


def likely_points(surrogate: Surrogate, seed: int) -> list[Density]:
    """Return up to `POINTS` densities among which the best one may be, the most likely first."""
    from scipy.stats import qmc

    low_C, high_C = np.array(surrogate.bounds).T
    unit_PC = qmc.Sobol(len(low_C), seed=seed % 2**32).random(CANDIDATES)
    points_PC = np.concatenate([[surrogate.best_point()], low_C + unit_PC * (high_C - low_C)])
    mean_P, _ = surrogate.mean_sd(points_PC)
    likely_PC = points_PC[np.abs(mean_P - mean_P[0]) <= surrogate.noise_sd]  # the best among them
    chosen = [points_PC[0]]
    while len(chosen) < POINTS:
        scaled = (likely_PC[:, None] - np.array(chosen)[None]) / (high_C - low_C)
        distance_P = (scaled**2).sum(axis=-1).min(axis=1)
        if distance_P.max() < APART**2:
            break
        chosen.append(likely_PC[int(distance_P.argmax())])
    return [tuple(float(value) for value in point) for point in chosen]


def _sources(url: URL, config: StudyConfig) -> list[_Source]:
    if not has_storage(url):
        raise StudyError(_missing(config, config.search.warm_start[0], "is not there yet"))
    with contextlib.closing(open_storage(url)) as storage:
        return [_source(storage, config, study) for study in config.search.warm_start]


def _source(storage: Storage, config: StudyConfig, study: str) -> _Source:
    if study not in study_names(storage):
        raise StudyError(_missing(config, study, f"is not in {storage.name}"))
    status = read_status(storage, study)
    if not status.complete:
        raise StudyError(
            f"study {config.study}: search.warm_start names {study}, which has not ended: "
            f"{status.ended} of {status.budget} trials have. "
            f"`wconv-sweep resume --study {study}` continues it."
        )
    if status.config.search.also:
        raise StudyError(
            f"study {config.study}: search.warm_start names {study}, which searched more than the "
            "density: what it found is good with its other settings alone. Leave it out."
        )
    surrogate = surrogate_of(status.trials, status.config)
    if surrogate is None:
        raise StudyError(
            f"study {config.study}: search.warm_start names {study}, in which no trial was "
            f"completed. `wconv-sweep status --study {study}` shows why; or leave it out."
        )
    return _Source(study, surrogate)


def _missing(config: StudyConfig, study: str, why: str) -> str:
    return (
        f"study {config.study}: search.warm_start names {study}, which {why}. Launch it first, to "
        "its end and with the same storage, or leave it out."
    )


def _within(config: StudyConfig, density: Sequence[float]) -> Density:
    # Rounded: further digits only hide that two densities are equal.
    return tuple(
        min(max(round(value, 6), low), high)
        for (low, high), value in zip(config.search.bounds, density, strict=True)
    )
