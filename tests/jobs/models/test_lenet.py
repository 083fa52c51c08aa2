"""LeNet: size, shape, sites and layers."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width.


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # 6 * 76, 16 * 151, 120 * 401, 84 * 121, 100 * 85
        ({}, 69_656),
        ({"num_classes": 10}, 69_656 - 90 * 85),
        ({"channels": 1}, 69_656 - 2 * 25 * 6),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("lenet", **options)

    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_multiplications_of_a_32x32_image() -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("lenet"), torch.empty(1, 3, 32, 32)

    with FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    # 28^2 pixels of 6 x 75 taps, 10^2 of 16 x 150
    convolutions = 784 * 450 + 100 * 2_400
    assert counter.get_total_flops() / 2 == convolutions + 400 * 120 + 120 * 84 + 84 * 100
    assert counter.get_total_flops() / 2 == pytest.approx(0.7e6, abs=0.05e6)


def test_the_density_acts_on_both_convolutions() -> None:
    with torch.device("meta"):
        model = build_model("lenet")

    assert len(sites(model, (0.6, 0.8))) == 2


@pytest.mark.parametrize("size", [(16, 16), (28, 28), (33, 35), (50, 17)])
def test_images_of_odd_and_small_size_give_one_logit_per_class(size: tuple[int, int]) -> None:
    model = build_model("lenet", num_classes=7, channels=2)

    assert model(torch.zeros(2, 2, *size)).shape == (2, 7)


def test_an_image_of_which_nothing_would_be_left_is_refused() -> None:
    model = build_model("lenet")

    with pytest.raises(JobError, match=r"'lenet'.* of 15x40 pixels\. Use .* at least 16x16"):
        model(torch.zeros(1, 3, 15, 40))


def test_the_pooling_to_5x5_changes_nothing_of_a_32x32_image() -> None:
    features = build_model("lenet").get_submodule("features")
    assert isinstance(features, nn.Sequential)
    image_BCHW = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    pooled_BCHW = features[:-1](image_BCHW)

    assert torch.equal(pooled_BCHW, features[:-2](image_BCHW))


@pytest.mark.parametrize(("last_weight", "logit"), [(1.0, 0.5), (-1.0, -0.5)])
def test_the_logits_of_constant_features_are_their_weighted_sum(
    last_weight: float, logit: float
) -> None:
    model = build_model("lenet", num_classes=2)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(model.get_parameter("features.3.bias"), 0.5)
    nn.init.constant_(model.get_parameter("head.0.weight"), 1 / 400)
    nn.init.constant_(model.get_parameter("head.2.weight"), 1 / 120)
    nn.init.constant_(model.get_parameter("head.4.weight"), last_weight / 84)

    logits_BC = model(torch.zeros(1, 3, 32, 32))

    torch.testing.assert_close(logits_BC, torch.full((1, 2), logit))
