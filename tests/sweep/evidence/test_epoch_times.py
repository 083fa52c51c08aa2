"""What times of epochs say of the cost of weighting, in numbers chosen here."""

import math
from collections.abc import Sequence

import pytest

from wconv_sweep.evidence.conditions import Conditions
from wconv_sweep.evidence.epoch_times import EpochTimes, epoch_times
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.storage.tables import SlotState
from wconv_sweep.study.point import Point

HERE = Conditions("node1", "H200", "2.13.0", "1", "1", side_by_side=2)
THERE = Conditions("node2", "H200", "2.13.0", "1", "1", side_by_side=2)


def runs(
    times: Sequence[float | None], *, first: int, seeds: Sequence[int] = ()
) -> list[TrialRow]:
    """Return runs at positions from `first` on, of seeds 1, 2, ... where none are given."""
    return [
        TrialRow(
            position=first + number,
            stage="confirm",
            label=None,
            state=SlotState.COMPLETE,
            point=Point((1.0,)),
            trial=first + number,
            attempt=1,
            epoch=5,
            value=30.0,
            metrics={} if time_s is None else {"epoch_s": time_s},
            provenance={},
            reason=None,
            lease_until=None,
            replicate=seeds[number] if seeds else number + 1,
        )
        for number, time_s in enumerate(times)
    ]


def compared(standard: list[TrialRow], weighted: list[TrialRow]) -> EpochTimes:
    return epoch_times(standard, weighted, {row.position: HERE for row in (*standard, *weighted)})


def test_the_overhead_is_the_mean_ratio_of_pairs_with_its_interval() -> None:
    """Logarithms 0.01 to 0.05 over five pairs: 0.03 +- 2.776 * sqrt(2.5e-4) / sqrt(5)."""
    standard = runs([10.0, 20.0, 10.0, 20.0, 10.0], first=0)
    ratios = [math.exp(each / 100) for each in (1, 2, 3, 4, 5)]
    weighted = runs(
        [row.metrics["epoch_s"] * by for row, by in zip(standard, ratios, strict=True)], first=5
    )

    found = compared(standard, weighted)

    assert (found.verdict, found.pairs) == ("slower", 5)
    assert found.overhead_percent == pytest.approx(100 * math.expm1(0.03))
    assert found.interval_percent == pytest.approx(
        (100 * math.expm1(0.03 - 0.01963), 100 * math.expm1(0.03 + 0.01963)), abs=1e-3
    )
    assert found.standard is not None
    assert (found.standard.mean, found.standard.seeds) == (14.0, 5)
    assert found.standard.sd == pytest.approx(math.sqrt(120 / 4))  # 3 * 16 + 2 * 36
    assert compared(weighted, standard).verdict == "faster"


def test_a_difference_within_the_spread_is_none() -> None:
    """A mean of 7.8 %, as the first report of the quickstart had of noise."""
    standard = runs([8.0, 10.0, 12.0, 9.0], first=0)
    weighted = runs([11.0, 9.0, 11.0, 11.0], first=4)

    found = compared(standard, weighted)

    assert (found.verdict, found.pairs) == ("none", 4)
    assert found.overhead_percent == pytest.approx(
        100 * ((11 * 9 * 11 * 11 / (8 * 10 * 12 * 9)) ** 0.25 - 1)
    )
    low, high = found.interval_percent or (0.0, 0.0)
    assert low < 0 < high


@pytest.mark.parametrize("pairs", [0, 1, 2])
def test_fewer_than_three_pairs_tell_no_overhead(pairs: int) -> None:
    found = compared(runs([10.0, 10.0][:pairs], first=0), runs([20.0, 20.1][:pairs], first=5))

    assert (found.verdict, found.pairs) == ("not known", pairs)
    assert (found.overhead_percent, found.interval_percent) == (None, None)


def test_pairs_that_all_differ_by_the_same_tell_nothing_of_their_spread() -> None:
    assert compared(runs([10.0] * 3, first=0), runs([11.0] * 3, first=5)).verdict == "not known"


def test_only_runs_of_equal_conditions_are_compared() -> None:
    """All plain runs on one node and all others on another: the nodes differ, who knows why."""
    standard, weighted = runs([10.0, 10.1, 10.2], first=0), runs([12.0, 12.2, 12.1], first=3)

    apart = epoch_times(
        standard, weighted, dict.fromkeys(range(3), HERE) | dict.fromkeys(range(3, 6), THERE)
    )

    assert (apart.verdict, apart.pairs, apart.unlike) == ("not known", 0, ("host",))
    assert apart.standard is not None
    assert apart.standard.seeds == 3  # shown, though not compared


def test_runs_pair_by_seed_and_then_in_their_order_where_conditions_are_equal() -> None:
    """Node 1 has seeds 1, 2 of plain and 2, 3, 4 of weighted, node 2 has 3 of plain and 1."""
    standard = runs([1.0, 2.0, 4.0], first=0, seeds=[1, 2, 3])
    weighted = runs([16.0, 32.0, 64.0, 128.0], first=3, seeds=[2, 3, 4, 1])
    conditions = {0: HERE, 1: HERE, 3: HERE, 4: HERE, 5: HERE, 2: THERE, 6: THERE}

    found = epoch_times(standard, weighted, conditions)

    assert found.difference is not None
    ratios = [math.exp(each) for each in found.difference.by_seed]
    assert ratios == pytest.approx([16 / 2, 32 / 1, 128 / 4])
    assert found.weighted is not None
    assert found.weighted.mean == pytest.approx((16 + 32 + 128) / 3)  # the 64 is in no pair


def test_a_run_of_unknown_conditions_or_without_a_time_is_in_no_pair() -> None:
    standard, weighted = runs([10.0, None, 11.0], first=0), runs([10.0, 10.0, 12.0], first=3)

    found = epoch_times(standard, weighted, dict.fromkeys((0, 1, 3, 4), HERE))

    assert (found.pairs, found.unknown) == (1, 2)
