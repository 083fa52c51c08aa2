"""The learning-rate schedules: values worked out by hand, and those of torch's own schedulers."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)

from tests.jobs.trials import Recorder, denoising, same_state, saved
from wconv_jobs.messages import Verdict
from wconv_jobs.recipe.lr_schedule import (
    ConstantSpec,
    CosineSpec,
    LrScheduleSpec,
    Run,
    StepSpec,
)
from wconv_jobs.training.loop import train

LR = 0.2
STEPS_PER_EPOCH, EPOCHS = 3, 4
RUN = Run(STEPS_PER_EPOCH, EPOCHS, LR)
STEPS = STEPS_PER_EPOCH * EPOCHS

Schedule = ConstantSpec | CosineSpec | StepSpec


def factors(schedule: Schedule) -> list[float]:
    """The factor of each step, and of the one after the last."""
    return [schedule.factor(step, RUN) for step in range(STEPS + 1)]


def optimizer() -> SGD:
    """An optimizer with one parameter, which has a gradient."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    return SGD([weight], lr=LR)


def rates(scheduler: LRScheduler) -> list[float]:
    """The learning rate of each step, and the one after the last."""
    found = []
    for _ in range(STEPS + 1):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return [float(rate) for rate in found]


def built(schedule: Schedule) -> list[float]:
    """The same of a schedule of ours."""
    return rates(schedule.build(optimizer(), steps_per_epoch=STEPS_PER_EPOCH, epochs=EPOCHS))


# By hand ---------------------------------------------------------------------------------------


def test_constant_is_one() -> None:
    assert factors(ConstantSpec(name="constant")) == [1.0] * (STEPS + 1)


def test_cosine_falls_from_one_over_a_half_to_its_lowest_rate() -> None:
    plain, lowest = (factors(CosineSpec(name="cosine", min_lr=lr)) for lr in (0.0, LR / 4))

    assert (plain[0], plain[STEPS]) == (1.0, 0.0)
    assert plain[STEPS // 2] == pytest.approx(0.5, rel=1e-15)
    assert plain[2] == pytest.approx((1 + math.sqrt(3) / 2) / 2, rel=1e-15)
    assert (lowest[0], lowest[STEPS]) == (1.0, 0.25)
    assert lowest[STEPS // 2] == pytest.approx(0.625, rel=1e-15)


def test_step_falls_when_its_epochs_have_ended() -> None:
    schedule = StepSpec(name="step", milestone_epochs=[1, 3], gamma=0.5)

    assert factors(schedule) == [1.0] * 3 + [0.5] * 6 + [0.25] * 4


def test_warm_up_rises_by_the_same_amount_with_each_step() -> None:
    schedule = ConstantSpec(name="constant", warmup_epochs=1)

    assert factors(schedule) == [0.25, 0.5, 0.75] + [1.0] * (STEPS - 2)


def test_cosine_has_the_steps_that_its_warm_up_leaves() -> None:
    warm = factors(CosineSpec(name="cosine", warmup_epochs=2))

    assert warm[:7] == [1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1.0]
    assert warm[9] == pytest.approx(0.5, rel=1e-15)
    assert warm[12] == 0.0


def test_the_epochs_of_step_are_counted_with_those_of_its_warm_up() -> None:
    schedule = StepSpec(name="step", milestone_epochs=[2], gamma=0.5, warmup_epochs=1)

    assert factors(schedule) == [0.25, 0.5, 0.75] + [1.0] * 3 + [0.5] * 7


def test_constant_and_cosine_are_bit_for_bit_what_they_were_without_options() -> None:
    # As they were written before they had any.
    def cosine(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / STEPS))

    assert built(CosineSpec(name="cosine")) == rates(LambdaLR(optimizer(), cosine))
    assert built(ConstantSpec(name="constant")) == rates(LambdaLR(optimizer(), lambda _: 1.0))


# Beside torch ----------------------------------------------------------------------------------


def stock(name: str, sgd: SGD, steps: int) -> LRScheduler:
    """Torch's own scheduler, called after every step, for so many steps."""
    if name == "constant":
        return ConstantLR(sgd, factor=1.0)
    if name == "cosine":
        return CosineAnnealingLR(sgd, T_max=steps, eta_min=LR / 8)
    if name == "multi-step":
        done = STEPS - steps
        milestones = [3 * epoch - done for epoch in (1, 2, 3) if 3 * epoch > done]
        return MultiStepLR(sgd, milestones, gamma=0.3)
    return StepLR(sgd, step_size=STEPS_PER_EPOCH, gamma=0.3)


SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"name": "constant"},
    "cosine": {"name": "cosine", "min_lr": LR / 8},
    "multi-step": {"name": "step", "milestone_epochs": [1, 2, 3], "gamma": 0.3},
    "step": {"name": "step", "milestone_epochs": [1, 2, 3, 4], "gamma": 0.3},
}


def of(**keys: Any) -> Schedule:
    """The schedule that a recipe with these keys has."""
    schedule: Schedule = TypeAdapter(LrScheduleSpec).validate_python(keys)
    return schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_torchs_own(name: str) -> None:
    theirs = rates(stock(name, optimizer(), STEPS))

    assert built(of(**SCHEDULES[name])) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("name", ["constant", "cosine"])
def test_a_schedule_with_warm_up_is_torchs_own_in_a_row_with_its_linear_one(name: str) -> None:
    sgd, warmup = optimizer(), 2 * STEPS_PER_EPOCH
    # Before the other, which takes the learning rate that it finds for that of the optimizer.
    linear = LinearLR(sgd, start_factor=1 / (warmup + 1), total_iters=warmup)
    theirs = SequentialLR(sgd, [linear, stock(name, sgd, STEPS - warmup)], [warmup])

    ours = built(of(**SCHEDULES[name], warmup_epochs=2))

    assert ours == pytest.approx(rates(theirs), rel=1e-12)


# As a key of a recipe --------------------------------------------------------------------------


def test_the_name_alone_stands_for_a_table_without_options(tmp_path: Path) -> None:
    short, table = (
        denoising(tmp_path, lr_schedule=value) for value in ("constant", {"name": "constant"})
    )

    assert short == table
    assert short.recipe.lr_schedule == ConstantSpec(name="constant")
    assert denoising(tmp_path).recipe.lr_schedule == CosineSpec(name="cosine")


def test_a_summary_names_the_options_that_are_not_the_default() -> None:
    assert CosineSpec(name="cosine").summary == "cosine"
    schedule = StepSpec(name="step", milestone_epochs=[2, 3], warmup_epochs=1)
    assert schedule.summary == "step (warmup_epochs 1, milestone_epochs [2, 3])"


@pytest.mark.parametrize(
    ("lr_schedule", "problem"),
    [
        ("step", "milestone_epochs"),
        ({"name": "step", "milestone_epochs": [2, 2]}, r"milestone_epochs \[2, 2\] must ascend"),
        (
            {"name": "step", "milestone_epochs": [1], "warmup_epochs": 2},
            "begins with 1, which lies in the warm-up of 2 epochs",
        ),
        ({"name": "step", "milestone_epochs": [1], "gamma": 1.0}, "gamma"),
        ({"name": "constant", "min_lr": 0.1}, "min_lr"),
        ({"name": "cosine", "min_lr": 0.02}, r"min_lr is 0.02, which is above optimizer.lr"),
        (
            {"name": "cosine", "warmup_epochs": 3},
            "warmup_epochs is 3, but epochs is 3: the learning rate would rise to the end",
        ),
        ("polynomial", "polynomial"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused(
    tmp_path: Path, lr_schedule: object, problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        denoising(tmp_path, lr_schedule=lr_schedule)


# In a run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lr_schedule",
    [
        {"name": "step", "milestone_epochs": [1, 2], "warmup_epochs": 1},
        {"name": "cosine", "min_lr": 0.001, "warmup_epochs": 1},
    ],
    ids=["step", "cosine"],
)
def test_a_run_that_is_stopped_within_an_epoch_goes_on_with_the_same_learning_rates(
    tmp_path: Path, lr_schedule: dict[str, Any]
) -> None:
    def spec(folder: str) -> Any:
        return denoising(tmp_path / folder, norm="none", lr_schedule=lr_schedule, epochs=3)

    first, asked = Recorder(), iter([False, True])

    def in_the_second_epoch() -> bool:
        # Asked after the report, then after the first of the two steps.
        return bool(first.reports) and next(asked)

    whole = train(spec("whole"), Recorder())
    stopped = train(spec("parts"), first, demanded=in_the_second_epoch)
    there = saved(tmp_path / "parts")
    resumed = train(spec("parts"), Recorder())

    assert (stopped.ending, len(there["reports"]), there["step"]) == ("stopped", 1, 1)
    assert resumed.metrics == whole.metrics
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


def test_the_learning_rate_after_an_epoch_is_that_of_the_schedule(tmp_path: Path) -> None:
    lr_schedule = {"name": "step", "milestone_epochs": [2], "gamma": 0.5, "warmup_epochs": 1}
    reports = Recorder({3: Verdict.STOP})

    train(denoising(tmp_path, norm="none", lr_schedule=lr_schedule, epochs=4), reports)

    assert [each["lr"] for each in reports.metrics] == [0.01, 0.005, 0.005]
