"""ResNet-56: size, shape, sites and shortcuts."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.models import build_model
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width.


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # The counts that implementations of either shortcut state for 100 classes.
        ({}, 858_868),
        ({"shortcut": "B"}, 861_620),
        # 16 * 16 more taps of the 55 kernels: 3 -> 16, 18 of 16 -> 16, 16 -> 32, 17 of 32 -> 32,
        # 32 -> 64 and 17 of 64 -> 64
        (
            {"kernel_size": 5},
            858_868 + 16 * (48 + 18 * 256 + 512 + 17 * 1024 + 2048 + 17 * 4096),
        ),
        # stem 9 + 2; blocks 2 * 9 + 4, 18 + 36 + 8, 72 + 144 + 16; linear 4 * 2 + 2
        ({"depth": 8, "width": 1, "channels": 1, "num_classes": 2}, 11 + 22 + 62 + 232 + 10),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("resnet56", **options)

    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_multiplications_of_a_32x32_image() -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("resnet56"), torch.empty(1, 3, 32, 32)

    with FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert counter.get_total_flops() / 2 == pytest.approx(125.5e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("kernel_size", "density"), [(3, (0.8,)), (5, (0.6, 0.8)), (7, (0.4, 0.6, 0.8))]
)
def test_the_density_acts_on_all_convolutions_but_those_of_the_shortcuts(
    kernel_size: int, density: tuple[float, ...]
) -> None:
    with torch.device("meta"):
        model = build_model("resnet56", kernel_size=kernel_size, shortcut="B")

    assert len(sites(model, density)) == 55


@pytest.mark.parametrize("options", [{"kernel_size": 5}, {"shortcut": "B"}])
@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 35)])
def test_an_image_of_any_size_gives_one_logit_per_class(
    size: tuple[int, int], options: dict[str, object]
) -> None:
    model = build_model("resnet56", depth=8, width=3, num_classes=7, channels=2, **options)

    assert model(torch.zeros(2, 2, *size)).shape == (2, 7)


def _residuals_of_zero(model: nn.Module) -> nn.Sequential:
    """Return the blocks after giving their second batch norms the factor zero."""
    blocks = model.get_submodule("blocks")
    assert isinstance(blocks, nn.Sequential)
    for block in blocks:
        nn.init.zeros_(block.get_parameter("residual.4.weight"))
    return blocks


def test_a_block_of_equal_shapes_adds_its_input_and_cuts_off_below_zero() -> None:
    block = _residuals_of_zero(build_model("resnet56", depth=8, width=1))[0]

    output_BCHW = block(torch.tensor([[[[1.0, -2.0, 3.0]]]]))

    assert output_BCHW.tolist() == [[[[1.0, 0.0, 3.0]]]]


def test_shortcut_a_takes_every_other_pixel_between_channels_of_zeros() -> None:
    block = _residuals_of_zero(build_model("resnet56", depth=8, width=2))[1]
    image_BCHW = torch.arange(1.0, 19.0).reshape(1, 2, 3, 3)

    output_BCHW = block(image_BCHW)

    zeros = [[0.0, 0.0], [0.0, 0.0]]
    assert output_BCHW.tolist() == [
        [zeros, [[1.0, 3.0], [7.0, 9.0]], [[10.0, 12.0], [16.0, 18.0]], zeros]
    ]


def test_shortcut_b_is_a_convolution_of_every_other_pixel() -> None:
    model = build_model("resnet56", depth=8, width=1, shortcut="B").eval()
    block = _residuals_of_zero(model)[1]
    with torch.no_grad():
        block.get_parameter("shortcut.0.weight").copy_(
            torch.tensor([2.0, 3.0]).reshape(2, 1, 1, 1)
        )

    output_BCHW = block(torch.tensor([[[[1.0, 5.0, 10.0]]]]))

    # The batch norm divides by sqrt(1 + 1e-5).
    expected_BCHW = torch.tensor([[[[2.0, 20.0]], [[3.0, 30.0]]]])
    torch.testing.assert_close(output_BCHW, expected_BCHW, rtol=1e-5, atol=0.0)
