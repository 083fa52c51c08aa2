"""CascadedGaze: size, cost, shape and structure."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model
from wconv_jobs.models._nafnet import NAFBlock
from wconv_jobs.models.cgnet import (
    SMOKE,
    CascadedGazeBlock,
    CGNet,
    GlobalContextExtractor,
    smallest_input,
)
from wconv_jobs.training.initialization import ResidualDenoiser, initialize
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width.

ONE_BLOCK: dict[str, Any] = {
    "encoder_blocks": [1, 1, 1, 1],
    "middle_blocks": 1,
    "decoder_blocks": [1, 1, 1, 1],
}
# As large as the authors' network for Gaussian noise. That one calls the extractors 4 and 3 deep,
# has another stride in the short ones, and clips the residual to [-1, 1].
GAUSSIAN: dict[str, Any] = {
    "width": 70,
    "encoder_blocks": [4, 4, 6, 8],
    "decoder_blocks": [2, 2, 2, 4],
}


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _small(seed: int = 0, **options: Any) -> nn.Module:
    """Return a network in which every layer has an effect."""
    model = build_model("cgnet", width=2, **{**ONE_BLOCK, **options}).double()
    initialize(model, "pytorch", seed)
    for block in (m for m in model.modules() if isinstance(m, NAFBlock | CascadedGazeBlock)):
        nn.init.constant_(block.beta, 0.5)
        nn.init.constant_(block.gamma, 0.5)
    return model


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 119_223_063),
        ({"kernel_size": 5}, 119_728_023),
        ({"kernel_size": 5, "gce_kernel_size": 5}, 119_862_423),
        ({"width": 8, **ONE_BLOCK}, 406_179),
        ({"width": 8, "kernel_size": 5, **ONE_BLOCK}, 418_723),
        ({"width": 32}, 34_066_019),
        (GAUSSIAN, 185_383_313),
    ],
)
@pytest.mark.slow
def test_number_of_parameters(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("cgnet", **options)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("options", "millions"),
    [({}, 15_437), ({"kernel_size": 5}, 15_818), ({"width": 8, **ONE_BLOCK}, 106)],
)
@pytest.mark.slow
def test_multiplications_for_an_image_of_128_pixels(
    options: dict[str, Any], millions: int
) -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("cgnet", **options), torch.empty(1, 3, 128, 128)

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert round(counter.get_total_flops() / 2e6) == millions


@pytest.mark.parametrize(
    ("options", "of_3", "of_5"),
    [
        ({}, 62, 4),
        ({"kernel_size": 5}, 28, 38),
        ({"kernel_size": 5, "gce_kernel_size": 5}, 0, 66),
        ({"gce_kernel_size": 5}, 34, 32),
        (ONE_BLOCK, 19, 2),
        (GAUSSIAN, 88, 8),
    ],
)
def test_sites_and_other_convolutions(options: dict[str, Any], of_3: int, of_5: int) -> None:
    with torch.device("meta"):
        model = build_model("cgnet", **options)

    found = [
        len(sites(model, density)) if number else 0
        for density, number in (((0.9,), of_3), ((0.8, 0.9), of_5))
    ]

    sizes = [m.kernel_size[0] for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert found == [of_3, of_5]
    assert sizes.count(2) == 4
    assert len(sizes) == of_3 + of_5 + 4 + sizes.count(1)
    if "encoder_blocks" not in options:
        assert sizes.count(1) == 196


@pytest.mark.parametrize(
    ("options", "smallest"),
    [
        ({}, 49),
        ({"kernel_size": 5}, 49),
        ({"gce_kernel_size": 5}, 97),
        # On the last level 31 pixels are needed, 8 times as many of the image: 256 are padded.
        ({"gce_depths": [2, 2, 2, 3]}, 241),
        # 7 pixels on the first level, and none on those without a block.
        ({"gce_depths": [2, 3, 3, 3], "encoder_blocks": [1, 0, 0, 0]}, 1),
        ({"encoder_blocks": [0, 0, 0, 0]}, 1),
    ],
)
def test_the_smallest_image_is_accepted_and_a_smaller_one_refused(
    options: dict[str, Any], smallest: int
) -> None:
    model = _small(**options)

    assert model(_random(1, 3, smallest, smallest)).shape == (1, 3, smallest, smallest)
    if smallest > 1:
        for size in ((smallest - 1, smallest), (smallest, smallest - 1)):
            with pytest.raises(JobError) as raised:
                model(_random(1, 3, *size))
            assert str(raised.value) == (
                f"models: cgnet: an image has {size[0]} x {size[1]} pixels, but the global "
                f"context extractors need at least {smallest} x {smallest}. Use larger images "
                "and crops."
            )


@pytest.mark.parametrize(
    ("cascade", "side"),
    [((), 1), (((3, 2),), 3), (((3, 2), (3, 3)), 7), (((5, 2), (5, 3), (5, 4)), 37)],
)
def test_the_smallest_input_of_a_row_of_convolutions(
    cascade: tuple[tuple[int, int], ...], side: int
) -> None:
    assert smallest_input(cascade) == side


@pytest.mark.parametrize("size", [(49, 64), (65, 51)])
def test_an_image_keeps_its_shape(size: tuple[int, int]) -> None:
    model = _small(channels=2)

    assert model(_random(1, 2, *size)).shape == (1, 2, *size)


def test_it_starts_as_the_identity() -> None:
    model = build_model("cgnet", width=2, **ONE_BLOCK)
    noisy_BCHW = _random(1, 3, 49, 50).float()

    initialize(model, "kaiming", seed=7)

    assert torch.equal(model(noisy_BCHW), noisy_BCHW)


def test_the_output_is_the_input_plus_the_last_convolution() -> None:
    model = _small()
    assert isinstance(model, CGNet)
    assert isinstance(model, ResidualDenoiser)
    assert model.residual_output is model.ending
    assert model.ending.bias is not None
    nn.init.zeros_(model.ending.weight)
    nn.init.constant_(model.ending.bias, 0.25)
    noisy_BCHW = _random(1, 3, 49, 49)

    denoised_BCHW = model(noisy_BCHW)

    assert torch.equal(denoised_BCHW, noisy_BCHW + 0.25)


def test_a_negative_number_of_blocks_is_refused() -> None:
    with pytest.raises(JobError) as raised:
        build_model("cgnet", width=2, encoder_blocks=[1, 1, -2, 1])

    assert str(raised.value) == "models: a level cannot have -2 blocks. Give 0 or more."


# The layers ------------------------------------------------------------------------------------


def test_the_extractor_scales_each_step_up_to_the_nearest_pixels() -> None:
    extractor = GlobalContextExtractor(1, ((3, 2), (1, 2))).double()
    for parameter in extractor.parameters():
        nn.init.zeros_(parameter)
        parameter.data[..., parameter.shape[-2] // 2, parameter.shape[-1] // 2] = 1.0
    # GELU(x) = x to the last bit of a float64 for these values.
    x_BCHW = 100.0 + torch.arange(25, dtype=torch.float64).reshape(1, 1, 5, 5)

    one_BCHW, other_BCHW = extractor(x_BCHW)

    # The pixels (1, 1), (1, 3), (3, 1) and (3, 3); pixel i of 5 is number floor(2 i / 5) of 2.
    upper, lower = [106, 106, 106, 108, 108], [116, 116, 116, 118, 118]
    assert one_BCHW[0, 0].tolist() == [upper, upper, upper, lower, lower]
    assert other_BCHW[0, 0].tolist() == [[106] * 5] * 5


def test_a_block_starts_as_the_identity() -> None:
    block = CascadedGazeBlock(2, 3, ((3, 2), (3, 3)))
    x_BCHW = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))

    y_BCHW = block(x_BCHW)

    assert torch.equal(y_BCHW, x_BCHW)


def test_a_block_puts_the_context_of_both_halves_beside_them() -> None:
    block = CascadedGazeBlock(2, 3, ((3, 2), (3, 3))).double()
    nn.init.constant_(block.beta, 2.0)
    nn.init.constant_(block.gamma, 3.0)
    x_BCHW = _random(1, 2, 9, 8)

    z_BCHW = block(x_BCHW)

    features_BCHW = block.features(x_BCHW)
    near_BCHW, far_BCHW = block.context(features_BCHW[:, :2] + features_BCHW[:, 2:])
    gaze_BCHW = block.fuse(torch.cat([features_BCHW, near_BCHW, far_BCHW], dim=1))
    y_BCHW = x_BCHW + 2 * gaze_BCHW
    torch.testing.assert_close(z_BCHW, y_BCHW + 3 * block.feed_forward(y_BCHW))


def test_stacked_networks_give_what_each_gives_alone() -> None:
    models = [_small(seed) for seed in range(2)]
    noisy_BCHW = _random(1, 3, 49, 49)

    def one(state: dict[str, Tensor]) -> Tensor:
        denoised_BCHW: Tensor = functional_call(models[0], state, (noisy_BCHW,))
        return denoised_BCHW

    together = vmap(one)(stack_module_state(models)[0])

    alone = torch.stack([model(noisy_BCHW) for model in models])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_smoke_run_has_every_kind_of_layer() -> None:
    with torch.device("meta"):
        full, smoke = build_model("cgnet"), build_model("cgnet", **SMOKE)

    assert {type(m) for m in smoke.modules()} == {type(m) for m in full.modules()}
    kernels = [
        {m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)}
        for model in (smoke, full)
    ]
    assert kernels[0] == kernels[1]
