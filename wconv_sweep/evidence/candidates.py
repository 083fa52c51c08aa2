"""The candidates of a confirmation: what the search of a study has found to be best.

That is the best point by a Gaussian process of all completed trials, which noise misleads less
than the best single run.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wconv_jobs.seeding import derive_seed
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.statistics import summarize
from wconv_sweep.storage.tables import SEARCHING, SlotState
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.point import Point, SearchArm

if TYPE_CHECKING:
    from wconv_sweep.evidence.surrogate import Surrogate

EXPECTED, OBSERVED = "best expected", "best observed"
"""Labels of the candidates that the search selects: by all of its trials, and by the best one."""
SAME = 0.01
"""Densities closer than this share of the bounds, in every coefficient, are one candidate."""


def choose_candidates(trials: Sequence[TrialRow], config: StudyConfig) -> dict[str, Point]:
    """Return the points to confirm, by label, without duplicates.

    The best expected by all trials, the best observed, then the reference densities; none is plain
    convolution, with which they are compared.
    """
    assert config.confirm is not None
    arm = arm_of(config)
    expected, plain = best_expected(trials, config, arm), plain_point(trials, config)
    if expected is None or plain is None:
        return {}
    points = config.reference_points()
    references = {label: each for label, each in points.items() if not each.is_plain}
    best = {EXPECTED: expected, OBSERVED: _best_observed(searched(trials, arm), config)}
    chosen: dict[str, Point] = {}
    known = [plain]
    for label, point in list((best | references).items())[: config.confirm.candidates]:
        if not any(_same(point, other, config) for other in known):
            chosen[label] = point
            known.append(point)
    return chosen


def plain_point(trials: Sequence[TrialRow], config: StudyConfig) -> Point | None:
    """Return what the candidates are compared with: plain convolution, at its own best.

    Where plain convolution is not tuned, that is the plain baseline. Otherwise it is the best
    expected point of its arm, and None before a trial of it has completed.
    """
    if not config.has_two_arms:
        return config.reference_points()[PLAIN]
    return best_expected(trials, config, SearchArm.PLAIN)


def arm_of(config: StudyConfig) -> SearchArm | None:
    """Return the arm whose best density a study is about; None where its search has one."""
    return SearchArm.WEIGHTED if config.has_two_arms else None


def best_expected(
    trials: Sequence[TrialRow], config: StudyConfig, arm: SearchArm | None = None
) -> Point | None:
    """Return the point that is expected to be best; None before a trial has completed."""
    from wconv_sweep.evidence.coordinates import Coordinates

    surrogate = surrogate_of(trials, config, arm)
    if surrogate is None:
        return None
    return Coordinates(config, arm).point(surrogate.best_point())


def surrogate_of(
    trials: Sequence[TrialRow], config: StudyConfig, arm: SearchArm | None = None
) -> "Surrogate | None":
    """Fit a surrogate to the completed trials of the search; None when there are none.

    Pruned trials are left out: their scores are those of fewer epochs.

    Args:
        trials: of the study.
        config: its definition.
        arm: of the search, where it has two.
    """
    # Imported here: they need numpy and Optuna, and status must answer at once.
    from wconv_sweep.evidence.coordinates import Coordinates
    from wconv_sweep.evidence.surrogate import fit

    pairs = searched(trials, arm)
    if not pairs:
        return None
    space = Coordinates(config, arm)
    points = [space.of(point) for point, _ in pairs]
    values = [value for _, value in pairs]
    seed = derive_seed(config.seed, "surrogate", *([arm.value] if arm else []))
    wary = bool(config.search.also)
    return fit(points, values, space.bounds, config.direction, seed, space.snap, is_wary=wary)


def searched(
    trials: Sequence[TrialRow], arm: SearchArm | None = None
) -> list[tuple[Point, float]]:
    """Return the points of completed trials, of one arm or all, with their objective."""
    return [
        (row.point, row.value)
        for row in trials
        if row.stage in SEARCHING
        and row.state is SlotState.COMPLETE
        and row.value is not None
        and row.point is not None
        and (arm is None or row.arm is arm)
    ]


def _best_observed(pairs: Sequence[tuple[Point, float]], config: StudyConfig) -> Point:
    """Return the point with the best mean over its seeds."""
    values: dict[Point, list[float]] = {}
    for point, value in pairs:
        values.setdefault(point, []).append(value)
    sign = 1 if config.direction == "maximize" else -1
    return max(values, key=lambda point: sign * summarize(values[point]).mean)


def _same(point: Point, other: Point, config: StudyConfig) -> bool:
    from wconv_sweep.study.search_space import distributions_of, params_of, share_of

    one, two = params_of(config, point), params_of(config, other)
    return all(
        abs(share_of(each, one[name]) - share_of(each, two[name])) < SAME
        for name, each in distributions_of(config).items()
    )
