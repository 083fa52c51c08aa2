"""DnCNN: size, shape and structure."""

import pytest
import torch
from torch import nn

from wconv_jobs.models import build_model

# Shape letters: B batch, C channels, H height, W width.


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 559_363),
        ({"kernel_size": 5}, 1_548_547),
        ({"depth": 20}, 670_531),
        ({"depth": 20, "kernel_size": 5}, 1_856_323),
        ({"channels": 1}, 557_057),
        # 2 * 9 * 3 + 2 and 3 * 9 * 2 + 3
        ({"depth": 2, "width": 2}, 56 + 57),
        # in between, 2 x (2 * 9 * 2 + 2), with 2 * 2 of the batch norm or without
        ({"depth": 4, "width": 2}, 56 + 57 + 2 * (38 + 4)),
        ({"depth": 4, "width": 2, "norm": "none"}, 56 + 57 + 2 * 38),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    model = build_model("dncnn", **options)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("kernel_size", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("size", [(1, 1), (7, 12), (13, 9)])
def test_an_image_of_any_size_keeps_its_shape(size: tuple[int, int], kernel_size: int) -> None:
    model = build_model(
        "dncnn", depth=3, width=2, channels=2, kernel_size=kernel_size, norm="none"
    )

    assert model(torch.zeros(2, 2, *size)).shape == (2, 2, *size)


def test_the_output_is_the_input_minus_the_last_convolution() -> None:
    model = build_model("dncnn", depth=2, width=1, channels=1, norm="none")
    for convolution in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        nn.init.zeros_(convolution.weight)
        assert convolution.bias is not None
        nn.init.constant_(convolution.bias, 0.25)
    noisy_BCHW = torch.tensor([[[[1.0, 2.0]]]])

    denoised_BCHW = model(noisy_BCHW)

    assert denoised_BCHW.tolist() == [[[[0.75, 1.75]]]]


def test_the_residual_output_is_the_last_convolution_and_is_registered_once() -> None:
    model = build_model("dncnn", depth=3, width=2)

    last = list(model.modules())[-1]

    assert model.residual_output is last
    assert [name for name in model.state_dict() if "residual" in name] == []
