"""All shapes take turns, and one that breaks is left out while the others go on."""

import pytest

from tests.sweep.calibration.found import FORMATS
from wconv_jobs.messages import Broken
from wconv_jobs.training.speed import Speed
from wconv_sweep.calibration.node_run import measure_rounds
from wconv_sweep.calibration.side_by_side import OneTrial
from wconv_sweep.evidence.calibration_record import LeftOut, Shape

SHAPES = [
    Shape(ranks=ranks, memory_format=memory_format, amp="none", lanes=2)
    for ranks in (1, 2)
    for memory_format in FORMATS
]
TRIAL = OneTrial(Speed(10, 1.0, 100, 0.5, 1e6), 2.0, {})


def broken(reason: str) -> Broken:
    return Broken(rank=0, error="E", reason=reason, where="w", traceback="")


def test_each_shape_is_measured_once_in_each_round_in_changing_order() -> None:
    asked: list[Shape] = []

    def measure(shape: Shape) -> list[OneTrial]:
        asked.append(shape)
        return [TRIAL, TRIAL]

    found = measure_rounds(SHAPES, measure, rounds=3, limit_s=1000)

    # The first measurement is slower than the others, and thrown away.
    turns = [asked[start : start + 4] for start in (1, 5, 9)]
    assert len(asked) == 13
    assert all(set(turn) == set(SHAPES) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert found.measured == {shape: [[TRIAL, TRIAL]] * 3 for shape in SHAPES}
    assert found.left_out == []


def test_a_shape_that_breaks_is_left_out_with_the_reason_and_not_tried_again() -> None:
    asked: list[Shape] = []

    def measure(shape: Shape) -> list[OneTrial] | Broken:
        asked.append(shape)
        return broken("GPU memory ran out (x). Use less.\nmore") if shape == SHAPES[1] else [TRIAL]

    found = measure_rounds(SHAPES, measure, rounds=2, limit_s=1000)

    assert asked.count(SHAPES[1]) == 1
    assert set(found.measured) == {*SHAPES} - {SHAPES[1]}
    assert found.left_out == [
        LeftOut(
            ranks=1,
            memory_format="channels_last",
            amp="none",
            reason="2 at once: GPU memory ran out (x). Use less.",
        )
    ]


def test_no_round_is_begun_that_would_pass_the_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    def rounds_within(limit_s: float) -> set[int]:
        found = measure_rounds(SHAPES, lambda _: [TRIAL], rounds=9, limit_s=limit_s)
        assert found.left_out == []
        return {len(each) for each in found.measured.values()}

    # The clock is read once before the rounds, and in them at the start and at the end: of the
    # first one, before each shape as well. So it takes 5 s from second 1 on, and the others 1 s.
    assert rounds_within(10.5) == {1}
    assert rounds_within(11.5) == {4}


def test_what_the_time_limit_leaves_no_room_for_is_left_out_but_for_one_shape() -> None:
    found = measure_rounds(SHAPES, lambda _: [TRIAL], rounds=3, limit_s=0)

    assert len(found.measured) == 1
    assert len(found.left_out) == 3
    assert all("no time was left" in each.reason for each in found.left_out)
