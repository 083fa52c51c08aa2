"""Network in Network: size, shape, sites and logits."""

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
        # The counts that implementations state for 100 classes, with 5x5 kernels and without.
        ({}, 680_228),
        ({"kernel_size": 5}, 984_356),
        # Per channel, a factor and a shift in place of a bias: 7 x 192, 160 and 96 channels.
        ({"batch_norm": True}, 680_228 + 7 * 192 - 192 + 160 + 96),
        # 1 -> 6 -> 5 -> 3 | 3 -> 6 -> 6 -> 6 | 6 -> 6 -> 6 -> 2
        (
            {"width": 6, "channels": 1, "num_classes": 2},
            (60 + 35 + 18) + (168 + 42 + 42) + (330 + 42 + 14),
        ),
        # 1 -> 7 -> 5 -> 3 | 3 -> 7
        (
            {"width": 7, "channels": 1, "num_classes": 2},
            (70 + 40 + 18) + (196 + 56 + 56) + (448 + 56 + 16),
        ),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("nin", **options)

    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize(
    ("options", "multiplications"), [({}, 138.7e6), ({"kernel_size": 5}, 223.6e6)]
)
def test_multiplications_of_a_32x32_image(
    options: dict[str, object], multiplications: float
) -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("nin", **options), torch.empty(1, 3, 32, 32)

    with FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert counter.get_total_flops() / 2 == pytest.approx(multiplications, abs=0.05e6)


@pytest.mark.parametrize(
    ("kernel_size", "density", "convolutions"),
    [(3, (0.8,), 3), (5, (0.6, 0.8), 2), (5, {3: (0.8,)}, 1), (5, {3: (0.8,), 5: (0.6, 0.8)}, 3)],
)
def test_a_density_acts_on_the_convolutions_of_its_size(
    kernel_size: int, density: dict[int, tuple[float, ...]] | tuple[float, ...], convolutions: int
) -> None:
    with torch.device("meta"):
        model = build_model("nin", kernel_size=kernel_size)

    assert len(sites(model, density)) == convolutions


@pytest.mark.parametrize("options", [{"kernel_size": 5}, {"batch_norm": True}])
@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 35)])
def test_an_image_of_any_size_gives_one_logit_per_class(
    size: tuple[int, int], options: dict[str, object]
) -> None:
    model = build_model("nin", width=7, num_classes=7, channels=2, **options)

    assert model(torch.zeros(2, 2, *size)).shape == (2, 7)


@pytest.mark.parametrize(("batch_norm", "logit"), [(False, 0.0), (True, -0.5)])
def test_only_with_batch_norm_can_a_logit_be_negative(batch_norm: bool, logit: float) -> None:
    model = build_model("nin", width=6, num_classes=2, batch_norm=batch_norm)
    last = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    with torch.no_grad():
        last.bias.copy_(torch.tensor([-0.5, 0.5]))

    logits_BC = model(torch.zeros(2, 3, 8, 8))

    assert logits_BC.tolist() == [[logit, 0.5]] * 2


def test_the_image_is_pooled_by_its_maximum_first_and_by_its_mean_second() -> None:
    model = build_model("nin", width=2, channels=1, num_classes=2).eval()
    for convolution in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        # The first channel passes as it is.
        nn.init.zeros_(convolution.weight)
        center = convolution.kernel_size[0] // 2
        nn.init.ones_(convolution.weight[0, 0, center, center])
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    image_BCHW = torch.zeros(1, 1, 4, 4)
    image_BCHW[0, 0, 3, 3] = 9.0

    logits_BC = model(image_BCHW)

    # 3x3 windows at every other pixel: of the maxima, only the last of 2x2 is 9; the mean of the
    # one window around the first pixel, with its frame of zeros, is 9 / 9.
    assert logits_BC.tolist() == [[1.0, 0.0]]
