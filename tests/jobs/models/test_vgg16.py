"""VGG: size, shape, sites and variants."""

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
        # The counts that implementations state for 100 classes.
        ({}, 34_015_396),
        ({"batch_norm": False}, 34_006_948),
        ({"head": 512}, 15_299_748),
        ({"head": "linear"}, 14_774_436),
        ({"depth": 11}, 28_518_244),
        ({"depth": 13}, 28_703_140),
        ({"depth": 19}, 39_327_652),
        # 1 -> 1 -> 2 -> 4 -> 4 -> 8 -> 8 -> 8 -> 8: 9 * (1 + 2 + 8 + 16 + 32 + 3 * 64) + 43; 9 * 2
        (
            {"depth": 11, "width": 1, "channels": 1, "batch_norm": False}
            | {"head": "linear", "num_classes": 2},
            2_259 + 43 + 18,
        ),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("vgg16", **options)

    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize(
    ("options", "multiplications"), [({}, 332.5e6), ({"head": "linear"}, 313.2e6)]
)
def test_multiplications_of_a_32x32_image(
    options: dict[str, object], multiplications: float
) -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("vgg16", **options), torch.empty(1, 3, 32, 32)

    with FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert counter.get_total_flops() / 2 == pytest.approx(multiplications, abs=0.05e6)


@pytest.mark.parametrize(("depth", "convolutions"), [(11, 8), (13, 10), (16, 13), (19, 16)])
@pytest.mark.parametrize(("kernel_size", "density"), [(3, (0.8,)), (5, (0.6, 0.8))])
def test_the_density_acts_on_every_convolution(
    depth: int, convolutions: int, kernel_size: int, density: tuple[float, ...]
) -> None:
    with torch.device("meta"):
        model = build_model("vgg16", depth=depth, kernel_size=kernel_size)

    assert len(sites(model, density)) == convolutions


@pytest.mark.parametrize("head", [512, "linear"])
@pytest.mark.parametrize("size", [(32, 32), (33, 35), (70, 32)])
def test_images_of_odd_and_large_size_give_one_logit_per_class(
    size: tuple[int, int], head: object
) -> None:
    model = build_model(
        "vgg16", depth=11, width=1, num_classes=7, channels=2, kernel_size=5, head=head
    )

    assert model(torch.zeros(2, 2, *size)).shape == (2, 7)


def test_an_image_of_which_nothing_would_be_left_is_refused() -> None:
    model = build_model("vgg16", depth=11, width=1, head="linear")

    with pytest.raises(JobError, match=r"'vgg16'.* of 40x31 pixels\. Use .* at least 32x32"):
        model(torch.zeros(1, 3, 40, 31))


def test_a_large_image_gives_the_mean_of_its_32x32_tiles() -> None:
    model = build_model("vgg16", depth=11, width=1, head="linear", batch_norm=False).double()
    for convolution in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        # Each pixel becomes the sum of its channels, whatever its neighbors.
        nn.init.zeros_(convolution.weight)
        nn.init.ones_(convolution.weight[:, :, 1, 1])
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    generator = torch.Generator().manual_seed(0)
    tiles_BCHW = torch.rand(2, 3, 32, 32, generator=generator, dtype=torch.float64)

    logits_of_tiles_BC = model(tiles_BCHW)
    logits_BC = model(torch.cat([*tiles_BCHW], dim=2)[None])

    torch.testing.assert_close(logits_BC, logits_of_tiles_BC.mean(dim=0, keepdim=True))


def test_hidden_units_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    model = build_model("vgg16", depth=11, width=1, head=512, batch_norm=False, dropout=0.9)
    image_BCHW = torch.rand(1, 3, 32, 32)

    assert not torch.equal(model(image_BCHW), model(image_BCHW))
    model.eval()
    assert torch.equal(model(image_BCHW), model(image_BCHW))
