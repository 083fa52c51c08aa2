"""Intervals over seeds: computed as by hand, and right as often as they say."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from wconv_sweep.evidence.statistics import paired_difference, summarize
from wconv_sweep.evidence.student import student_quantile
from wconv_sweep.evidence.surrogate import fit


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values, start=1))


def test_mean_and_spread_are_those_of_a_textbook() -> None:
    summary = summarize([1.0, 2.0, 3.0, 4.0, 5.0])

    assert (summary.mean, summary.seeds) == (3.0, 5)
    assert summary.sd == pytest.approx(math.sqrt(2.5))
    assert summarize([2.0]).sd is None


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize(
    "values",
    [
        [1e200, 1.0],
        [1e308, 1e308, 1e308],
        [math.inf, -math.inf],
        [math.inf, 1.0],
        [math.nan, 1.0],
        [-1e308, -1e308],
    ],
    ids=str,
)
def test_scores_of_a_network_that_exploded_are_summarized_and_claim_nothing(
    values: list[float],
) -> None:
    summary = summarize(values)
    difference = paired_difference(by_seed(*values), by_seed(*[0.0] * len(values)))

    assert summary.mean == pytest.approx(np.mean(values), nan_ok=True)
    assert summary.sd is not None
    assert not summary.sd < 1e199
    assert difference is not None
    assert difference.verdict("maximize") == difference.verdict("minimize")
    assert difference.verdict("maximize") == "no difference shown"


def test_the_spread_of_huge_scores_is_a_number_where_that_of_their_squares_is_none() -> None:
    assert summarize([1e200, 1.0]).sd == pytest.approx(1e200 / math.sqrt(2))


# Powers of two: they change no digit, and the interval of so few depends on the last one.
@pytest.mark.parametrize("factor", [2.0**-660, 2.0**660, 2.0**1018])
def test_scores_are_resampled_alike_whatever_their_size(factor: float) -> None:
    usual = paired_difference(by_seed(1, 2, 3, 4, 9), by_seed(0, 0, 0, 0, 0))
    scaled = paired_difference(
        by_seed(*(factor * each for each in (1, 2, 3, 4, 9))), by_seed(0, 0, 0, 0, 0)
    )

    assert usual is not None
    assert scaled is not None
    bounds, of_scaled = usual.bootstrap(), scaled.bootstrap()
    assert bounds is not None
    assert of_scaled == (factor * bounds[0], factor * bounds[1])


def test_differences_that_are_not_finite_are_not_resampled() -> None:
    difference = paired_difference(by_seed(math.inf, 1.0, 2.0), by_seed(0, 0, 0))

    assert difference is not None
    assert difference.bootstrap() is None


def test_the_interval_is_students() -> None:
    """Differences 1, 2, 3, 4, 5: 3 +- 2.776 * sqrt(2.5) / sqrt(5), where 2.776 is t(0.975; 4)."""
    difference = paired_difference(by_seed(11, 22, 33, 44, 55), by_seed(10, 20, 30, 40, 50))

    assert difference is not None
    assert (difference.mean, difference.seeds, difference.level) == (3.0, 5, 0.95)
    assert difference.interval == pytest.approx((3 - 1.9634, 3 + 1.9634), abs=1e-3)
    bootstrap = difference.bootstrap()
    assert bootstrap is not None
    assert 1 < bootstrap[0] < 3 < bootstrap[1] < 5
    assert difference.bootstrap() == bootstrap


@pytest.mark.parametrize("level", [0.0, 0.5, 0.95, 0.975, 0.9999])
def test_quantiles_are_those_of_scipy(level: float) -> None:
    degrees = [1, 2, 3, 4, 5, 9, 10, 30, 101]

    ours = [student_quantile(each, level) for each in degrees]

    assert ours == pytest.approx(stdtrit(degrees, 0.5 + level / 2), rel=1e-9, abs=1e-12)


def test_of_two_comparisons_each_must_hold_more_often() -> None:
    """t(0.9875; 4) is 3.495: 3.495 * sqrt(2.5) / sqrt(5) = 2.471."""
    values, baseline = by_seed(1, 2, 3, 4, 5), by_seed(0, 0, 0, 0, 0)

    difference = paired_difference(values, baseline, comparisons=2)

    assert difference is not None
    assert difference.level == pytest.approx(0.975)
    assert difference.interval == pytest.approx((3 - 2.471, 3 + 2.471), abs=1e-3)


@pytest.mark.parametrize(
    ("values", "direction", "verdict"),
    [
        ((1.0, 1.1, 0.9, 1.0), "maximize", "better"),
        ((1.0, 1.1, 0.9, 1.0), "minimize", "worse"),
        ((-1.0, -1.1, -0.9, -1.0), "maximize", "worse"),
        ((-1.0, -1.1, -0.9, -1.0), "minimize", "better"),
        ((1.0, -1.0, 0.5, 0.2), "maximize", "no difference shown"),
        ((1.0,), "maximize", "no difference shown"),
        ((0.0, 0.0, 0.0), "maximize", "no difference shown"),
        # Of the spread, two say nothing, and equal ones less.
        ((1.0, 1.001), "maximize", "no difference shown"),
        ((0.01, 0.01), "maximize", "no difference shown"),
        ((1.0, 1.0, 1.0, 1.0, 1.0), "maximize", "no difference shown"),
    ],
)
def test_better_is_said_only_where_zero_is_left_out(
    values: tuple[float, ...], direction: str, verdict: str
) -> None:
    difference = paired_difference(by_seed(*values), by_seed(*[0.0] * len(values)))

    assert difference is not None
    assert difference.verdict(direction) == verdict


@pytest.mark.parametrize("step", [0.0, 1e-4])
def test_differences_that_part_in_their_last_bits_alone_are_equal(step: float) -> None:
    values, baseline = by_seed(0.9512, 0.9377, 0.9301), by_seed(0.9510, 0.9375, 0.9299)
    assert len({values[each] - baseline[each] for each in values}) > 1

    difference = paired_difference(values, baseline, step=step)

    assert difference is not None
    assert (difference.interval, difference.bootstrap()) == (None, None)
    assert difference.verdict("maximize") == "no difference shown"


def test_a_score_that_goes_in_steps_is_known_less_well() -> None:
    """Differences 1, 2, 3 and steps of 1: 2 +- 4.303 * sqrt(1 + 1/6) / sqrt(3)."""
    difference = paired_difference(by_seed(1, 2, 3), by_seed(0, 0, 0), step=1.0)

    assert difference is not None
    assert difference.sd == 1.0
    assert difference.interval == pytest.approx((2 - 2.6833, 2 + 2.6833), abs=1e-3)


@pytest.mark.parametrize("disagreed", [2, 4, 8, 16])
def test_equally_good_networks_that_disagree_on_a_few_images_are_seldom_called_better(
    disagreed: int,
) -> None:
    """On each of these images the one is right or the other, by chance: 2.5 % would be allowed."""
    drawn = np.random.default_rng(disagreed)
    better = 0
    for _ in range(3000):
        seeds = int(drawn.integers(2, 6))
        values = by_seed(*(2 * drawn.binomial(disagreed, 0.5, seeds) - disagreed) / 10_000)
        found = paired_difference(values, by_seed(*[0.0] * seeds), step=1 / 10_000)
        better += found is not None and found.verdict("maximize") == "better"

    assert better / 3000 <= 0.025


def test_only_seeds_that_both_have_are_compared() -> None:
    difference = paired_difference({1: 5.0, 2: 6.0, 4: 100.0}, {1: 4.0, 2: 4.0, 3: -100.0})

    assert difference is not None
    assert (difference.mean, difference.seeds) == (1.5, 2)
    assert paired_difference({1: 5.0}, {2: 4.0}) is None


def test_equal_differences_and_two_seeds_are_not_resampled() -> None:
    equal = paired_difference(by_seed(3, 3, 3), by_seed(2, 2, 2))
    two = paired_difference(by_seed(3, 4), by_seed(2, 2))

    assert equal is not None
    assert two is not None
    assert (equal.bootstrap(), two.bootstrap()) == (None, None)


def simulated_study(number: int) -> tuple[float, bool]:
    """Return a study's confirmed difference minus the true one, and whether its interval holds it.

    True objective -2 (x - 0.8)^2, plain at 1; noise 0.1 from seed to seed, half of its variance
    shared by runs of one seed. Search: 20 runs. Confirmation: the best expected and the best
    observed density on 5 fresh seeds, of which the better on average is named.
    """
    draw = np.random.default_rng(number)

    def objective(density: float) -> float:
        return -2 * (density - 0.8) ** 2

    noise = 0.1
    densities = np.append(1.0, draw.uniform(0.5, 1.5, 19))
    values = [objective(each) + draw.normal(0, noise) for each in densities]
    surrogate = fit(densities[:, None], values, [(0.5, 1.5)], "maximize", seed=number)
    candidates = [surrogate.best_point()[0], float(densities[int(np.argmax(values))])]
    shared = draw.normal(0, noise / math.sqrt(2), 5)

    def train(density: float) -> dict[int, float]:
        own = draw.normal(0, noise / math.sqrt(2), 5)
        return by_seed(*(objective(density) + shared + own))

    plain = train(1.0)
    runs = [train(each) for each in candidates]
    chosen = int(np.argmax([np.mean(list(each.values())) for each in runs]))
    difference = paired_difference(runs[chosen], plain, comparisons=len(candidates))
    assert difference is not None
    assert difference.interval is not None
    truth = objective(candidates[chosen]) - objective(1.0)
    return difference.mean - truth, difference.interval[0] <= truth <= difference.interval[1]


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 200 simulated studies, search and choice included; 95 % are promised."""
    errors, held = zip(*(simulated_study(number) for number in range(200)), strict=True)

    assert 0.92 <= np.mean(held) <= 0.98
    # The better of two is a little lucky; the best single run promises 0.14 too much here.
    assert abs(np.mean(errors)) < 0.03
