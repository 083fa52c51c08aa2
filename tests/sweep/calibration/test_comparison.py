"""Trials per hour, ratios with their spread and costs, on numbers computed by hand."""

from dataclasses import astuple

import pytest

from tests.sweep.calibration.found import calibration, config, measured
from wconv_sweep.calibration.comparison import Ratio, compare, study_cost
from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.clusters.profile import SlurmProfile, load_profile
from wconv_sweep.evidence.calibration_record import Round, shape_of, trial_s
from wconv_sweep.study.config import TrialShape


def test_a_trial_takes_its_start_and_steps_and_validation_of_each_epoch() -> None:
    measured = Round(steps_per_s=5, validation_s=3, start_s=2)

    assert trial_s(measured, steps_per_epoch=100, epochs=4) == 2 + 4 * (100 / 5 + 3)


def test_trials_per_hour_and_ratios_are_medians_over_the_rounds() -> None:
    alone = measured(10, 20, 40)
    two = measured(10, 10, 50, lanes=2)

    found = compare(calibration(two, alone), config(), lanes=1)

    one, both = found.rows
    # 360 steps at 10, 20 and 40 a second: 36, 18 and 9 s, or 100, 200 and 400 trials an hour.
    assert (one.steps_per_s, one.trial_s, one.trials_per_h) == (20, 18, 200)
    assert found.base is one
    assert one.ratio == Ratio(1, 1, 1)
    # Two at once: 200, 200 and 1000 an hour.
    assert (both.steps_per_s, both.trial_s, both.trials_per_h) == (10, 36, 200)
    assert astuple(both.ratio) == pytest.approx((2, 1, 2.5))


def test_all_are_held_against_the_shape_that_pilots_train_the_study_in() -> None:
    alone, full = measured(10), measured(9, lanes=4)
    other = measured(20, memory_format="channels_last", lanes=4)
    found = calibration(other, alone, full)

    assert compare(found, config(), lanes=None).base.shape == shape_of(config(), lanes=4)
    assert compare(found, config(), lanes=1).base.shape == shape_of(config(), lanes=1)
    assert compare(calibration(other), config(), lanes=None).base.shape == other.shape


def test_another_shape_is_the_best_only_if_it_was_faster_in_every_round() -> None:
    base = measured(10, 10, 10)
    once_slower = measured(50, 50, 9, memory_format="channels_last")
    always_faster = measured(12, 11, 12, ranks=2)
    half = measured(30, 20, 30, amp="bfloat16")

    found = compare(calibration(base, once_slower, always_faster, half), config(), lanes=None)
    tie = compare(calibration(base, once_slower), config(), lanes=None)

    best, with_amp = found.best("none"), found.best("bfloat16")
    assert best is not None
    assert best.shape == always_faster.shape
    assert with_amp is not None
    assert with_amp.shape == half.shape
    assert tie.best("none") is tie.base
    assert tie.best("bfloat16") is None


def test_the_study_costs_the_hours_of_all_its_trials() -> None:
    # 36 s a trial, two at once: 60 trials take 18 minutes of the node.
    found = compare(calibration(measured(10, lanes=2), gpus=4), config(), lanes=None)
    of_two = found.base

    on_gpus = study_cost(of_two, config(), on_gpus=True)
    on_cores = study_cost(of_two, config(), on_gpus=False)

    assert on_gpus.node_hours == pytest.approx(0.3)
    assert (on_gpus.hours, on_cores.hours) == pytest.approx((0.6, 0.6))
    assert (on_gpus.unit, on_cores.unit) == ("GPU-hours", "core-hours")
    assert on_gpus.billed is None


def test_a_trial_costs_its_part_of_a_gpu() -> None:
    sharing = config().model_copy(update={"trial": TrialShape(per_gpu=4)})
    found = compare(calibration(measured(10, lanes=4, per_gpu=4), gpus=1), sharing, lanes=None)

    on_gpus = study_cost(found.base, sharing, on_gpus=True)
    on_cores = study_cost(found.base, sharing, on_gpus=False)

    # 60 trials of 36 s, four at once on one GPU: 9 minutes of it.
    assert (on_gpus.node_hours, on_gpus.hours) == pytest.approx((0.15, 0.15))
    assert on_cores.hours == pytest.approx(0.6)


def test_the_site_bills_the_hours_of_its_nodes() -> None:
    profile = load_profile("leonardo")
    assert isinstance(profile, SlurmProfile)
    pilots = resolve_request(profile, PilotRequest(), environment={})
    found = compare(calibration(measured(10, lanes=4), gpus=4), config(), lanes=None)

    cost = study_cost(found.base, config(), on_gpus=True, profile=profile, pilots=pilots)

    # 60 trials of 36 s, four at once, are 0.15 hours of a node with 32 cores, whose GPUs cost 8.
    assert cost.hours == pytest.approx(0.6)
    assert cost.billed == pytest.approx(0.15 * 32)
    assert cost.billed_unit == "core-hours"
