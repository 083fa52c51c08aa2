"""The order of tensors in memory changes how fast a trial is trained, and results by rounding."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from tests.jobs.trials import Recorder, denoising, same_state, saved
from wconv_jobs.memory_format import arrange, arranger
from wconv_jobs.spec import ModelSpec
from wconv_jobs.training.loop import train


def test_images_come_in_the_order_of_the_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 2))
    images_BCHW, signals_BCL = torch.rand(2, 3, 5, 5), torch.rand(2, 3, 5)

    assert arranger(model)(images_BCHW) is images_BCHW
    arrange(model, "channels_last")
    arranged_BCHW = arranger(model)(images_BCHW)

    assert arranged_BCHW.stride() == (75, 1, 15, 3)
    assert torch.equal(arranged_BCHW, images_BCHW)
    assert arranger(model)(signals_BCL) is signals_BCL
    # The network keeps the order from layer to layer: that is what saves time.
    assert model[0](arranged_BCHW).is_contiguous(memory_format=torch.channels_last)


def test_networks_of_volumes_have_no_such_choice() -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv1d(2, 2, 3))

    arrange(model, "channels_last")

    assert all(parameter.is_contiguous() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("model", "recipe", "expected"),
    [
        ("dncnn", {"dtype": "float32"}, "channels_last"),
        ("dncnn", {"dtype": "float64"}, "contiguous"),
        ("mine:network", {"dtype": "float32"}, "contiguous"),
        ("mine:network", {"dtype": "float32", "memory_format": "channels_last"}, "channels_last"),
        ("dncnn", {"dtype": "float32", "memory_format": "contiguous"}, "contiguous"),
    ],
)
def test_shipped_networks_in_float32_take_the_faster_order_unless_the_recipe_says_another(
    model: str,
    recipe: dict[str, Any],
    expected: Literal["contiguous", "channels_last"],
    tmp_path: Path,
) -> None:
    spec = denoising(tmp_path, **recipe).model_copy(update={"model": ModelSpec(name=model)})

    assert spec.memory_format == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_orders_give_the_same_trial_up_to_rounding(
    dtype: Literal["float32", "float64"], tmp_path: Path
) -> None:
    reports = {}
    for name in ("contiguous", "channels_last"):
        recorder = Recorder()
        train(denoising(tmp_path / name, dtype=dtype, memory_format=name), recorder)
        reports[name] = recorder.metrics[-1]

    # Rounding grows over six steps with BatchNorm over few pixels.
    tolerance = 1e-3 if dtype == "float32" else 1e-10
    assert reports["channels_last"] == pytest.approx(reports["contiguous"], rel=tolerance)
    weights = saved(tmp_path / "channels_last")["model"].values()
    assert any(not weight.is_contiguous() for weight in weights)


def test_a_run_in_the_faster_order_that_is_stopped_and_resumed_ends_bitwise_like_one_that_is_not(
    tmp_path: Path,
) -> None:
    whole, first, second = Recorder(), Recorder(), Recorder()
    recipe: dict[str, Any] = {"dtype": "float32", "memory_format": "channels_last"}
    train(denoising(tmp_path / "whole", **recipe), whole)

    steps = iter(range(100))
    train(denoising(tmp_path / "two", **recipe), first, demanded=lambda: next(steps) >= 2)
    train(denoising(tmp_path / "two", **recipe), second)

    assert len(first.reports) < len(whole.reports)
    assert second.metrics[-1] == whole.metrics[-1]
    one, two = saved(tmp_path / "whole"), saved(tmp_path / "two")
    assert same_state(one["model"], two["model"])
    assert same_state(one["optimizer"], two["optimizer"])
