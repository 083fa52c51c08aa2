"""The candidates of a confirmation: what the search of a study has found to be best.

That is the best point by a Gaussian process of all completed trials, which noise misleads less
than the best single run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
OF_PLAIN = f"{PLAIN}, "
"""What the labels of further candidates of plain convolution begin with; the first is `PLAIN`."""
SAME = 0.01
"""Densities closer than this share of the bounds, in every coefficient, are one candidate."""


@dataclass(frozen=True)
class Candidates:
    """The points that a confirmation trains, by label; none of a side is twice in it."""

    plain: Mapping[str, Point]
    """Plain convolution, at its own best where it is tuned; the first is labeled `PLAIN`."""
    weighted: Mapping[str, Point]
    """Densities, each with what was found with it; none is plain convolution."""


def choose_candidates(
    trials: Sequence[TrialRow], config: StudyConfig, of_plain: int | None = None
) -> Candidates:
    """Return the points to confirm; none of either side where there is nothing to compare.

    Of weighted convolution the best expected by all trials, the best observed, then the reference
    densities. Of plain convolution the plain baseline, and where it is tuned, the same as of
    weighted convolution, from its own arm.

    Args:
        trials: of the study.
        config: its definition.
        of_plain: candidates of plain convolution at most; None: as many as of weighted.
    """
    assert config.confirm is not None
    number = config.confirm.candidates
    expected = best_expected(trials, config, arm_of(config))
    plain = _plain_candidates(trials, config, number if of_plain is None else of_plain)
    if expected is None or not plain:
        return Candidates({}, {})
    points = config.reference_points()
    references = {label: each for label, each in points.items() if not each.is_plain}
    observed = _best_observed(searched(trials, arm_of(config)), config)
    best = {EXPECTED: expected, OBSERVED: observed} | references
    weighted = _different(best, number, config, list(plain.values()))
    return Candidates(plain, weighted) if weighted else Candidates({}, {})


def _plain_candidates(
    trials: Sequence[TrialRow], config: StudyConfig, number: int
) -> dict[str, Point]:
    points = config.reference_points()
    if not config.has_two_arms:
        return {PLAIN: points[PLAIN]}
    expected = best_expected(trials, config, SearchArm.PLAIN)
    if expected is None:
        return {}
    observed = _best_observed(searched(trials, SearchArm.PLAIN), config)
    references = {
        f"{OF_PLAIN}{'at the values of the study' if label == PLAIN else label}": each
        for label, each in points.items()
        if each.is_plain
    }
    best = {PLAIN: expected, f"{OF_PLAIN}{OBSERVED}": observed} | references
    return _different(best, number, config)


def _different(
    points: Mapping[str, Point], number: int, config: StudyConfig, known: Sequence[Point] = ()
) -> dict[str, Point]:
    """Return the first so many of some points, without those that others, or known ones, equal."""
    chosen: dict[str, Point] = {}
    for label, point in list(points.items())[:number]:
        if not any(_same(point, other, config) for other in (*known, *chosen.values())):
            chosen[label] = point
    return chosen


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
