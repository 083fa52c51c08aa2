"""The order of tensors in memory changes how fast a trial is trained, and results by rounding."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from tests.jobs.trials import Recorder, denoising, same_state, saved
from wconv_jobs.data import load_task
from wconv_jobs.memory_format import arrange, arranged
from wconv_jobs.spec import ModelSpec
from wconv_jobs.training.evaluation import evaluate
from wconv_jobs.training.loop import LONE_PROCESS, train


def test_images_come_in_the_order_of_the_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 2))
    images_BCHW, signals_BCL = torch.rand(2, 3, 5, 5), torch.rand(2, 3, 5)

    assert arranged(images_BCHW, "contiguous") is images_BCHW
    arrange(model, "channels_last")
    arranged_BCHW = arranged(images_BCHW, "channels_last")

    assert arranged_BCHW.stride() == (75, 1, 15, 3)
    assert torch.equal(arranged_BCHW, images_BCHW)
    assert arranged(signals_BCL, "channels_last") is signals_BCL
    # The network keeps the order from layer to layer: that is what saves time.
    assert model[0](arranged_BCHW).is_contiguous(memory_format=torch.channels_last)


class Viewed(nn.Module):
    """A user's network that its builder has arranged, and that looks at its input by `view`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares no such overload

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return images like those that it gets."""
        restored_BCHW: Tensor = self.conv(x_BCHW.view(len(x_BCHW), -1).view(x_BCHW.shape))
        return restored_BCHW


def test_the_images_of_a_contiguous_trial_stay_so_whatever_its_network_does(
    tmp_path: Path,
) -> None:
    task = load_task(denoising(tmp_path).data, seed=0)

    assert evaluate(Viewed(), task, "validation", LONE_PROCESS)["loss"] > 0


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
