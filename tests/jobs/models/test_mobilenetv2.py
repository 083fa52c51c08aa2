"""MobileNetV2: size, shape, sites and blocks."""

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
        # The count that implementations of this variant state for 100 classes.
        ({}, 2_369_380),
        ({"num_classes": 10}, 2_369_380 - 90 * 1_281),
        ({"channels": 1}, 2_369_380 - 2 * 32),
        # 16 more taps of each filter; the first block of a stage has those of the stage before
        (
            {"kernel_size": 5},
            2_369_380 + 16 * (32 + 96 + 2 * 144 + 3 * 192 + 4 * 384 + 3 * 576 + 3 * 960),
        ),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("mobilenetv2", **options)

    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_multiplications_of_a_32x32_image() -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("mobilenetv2"), torch.empty(1, 3, 32, 32)

    with FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert counter.get_total_flops() / 2 == pytest.approx(64.9e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("kernel_size", "density"), [(3, (0.8,)), (5, (0.6, 0.8)), (7, (0.4, 0.6, 0.8))]
)
def test_the_density_acts_on_the_depthwise_convolutions(
    kernel_size: int, density: tuple[float, ...]
) -> None:
    with torch.device("meta"):
        model = build_model("mobilenetv2", kernel_size=kernel_size)

    found = sites(model, density)

    assert len(found) == 17
    assert all(site.groups == site.in_channels == site.out_channels for site in found.values())


@pytest.mark.parametrize("kernel_size", [3, 7])
@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 35)])
def test_an_image_of_any_size_gives_one_logit_per_class(
    size: tuple[int, int], kernel_size: int
) -> None:
    model = build_model(
        "mobilenetv2", width=0.1, num_classes=7, channels=2, kernel_size=kernel_size
    )

    assert model(torch.zeros(2, 2, *size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("width", "stem", "last", "head"),
    [(0.1, 8, 32, 1280), (0.5, 16, 160, 1280), (1.0, 32, 320, 1280), (1.4, 48, 448, 1792)],
)
def test_the_width_scales_channels_to_multiples_of_8_and_never_shrinks_the_head(
    width: float, stem: int, last: int, head: int
) -> None:
    with torch.device("meta"):
        model = build_model("mobilenetv2", width=width)

    assert model.get_parameter("stem.0.weight").shape == (stem, 3, 1, 1)
    assert model.get_parameter("head.0.weight").shape == (head, last, 1, 1)


def test_a_block_adds_its_input_where_the_shape_is_the_same() -> None:
    model = build_model("mobilenetv2", width=0.1)
    blocks = model.get_submodule("blocks")
    assert isinstance(blocks, nn.Sequential)

    added = []
    for block in blocks:
        first, last = (
            block.get_parameter("layers.0.weight"),
            block.get_parameter("layers.7.weight"),
        )
        nn.init.zeros_(last)  # the factor of the last batch norm
        image_BCHW = torch.ones(2, first.shape[1], 3, 3)
        output_BCHW = block(image_BCHW)
        assert torch.equal(output_BCHW, image_BCHW) or not output_BCHW.any()
        added.append(bool(output_BCHW.any()))

    # All but the first of each stage. With this width, 8 channels enter the stages of 16, 24, 32
    # and 96 channels as well; of these, the first and the last have stride 1.
    repeated = [[False], [False, True], [False, True, True], [False, True, True, True]]
    repeated += [[False, True, True], [False, True, True], [False]]
    repeated[0][0] = repeated[4][0] = True
    assert added == [adds for stage in repeated for adds in stage]


def test_the_stem_frames_the_image_with_pixels_of_the_bias() -> None:
    convolution = build_model("mobilenetv2", width=0.1).get_submodule("stem.0")
    nn.init.ones_(convolution.get_parameter("weight"))
    nn.init.constant_(convolution.get_parameter("bias"), 0.5)

    framed_BCHW = convolution(torch.full((1, 3, 1, 1), 2.0))

    frame = [0.5, 0.5, 0.5]
    assert framed_BCHW[0, 0].tolist() == [frame, [0.5, 6.5, 0.5], frame]
