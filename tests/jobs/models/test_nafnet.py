"""NAFNet: size, cost, shape and structure."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.errors import JobError
from wconv_jobs.models import build_model
from wconv_jobs.models._nafnet import ChannelAttention, LayerNorm2d, NAFBlock, SimpleGate
from wconv_jobs.models.nafnet import SMOKE
from wconv_jobs.training.initialization import ResidualDenoiser, initialize
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width.

GOPRO = {
    "encoder_blocks": [1, 1, 1, 28],
    "middle_blocks": 1,
    "decoder_blocks": [1, 1, 1, 1],
}
SMALL: dict[str, Any] = {
    "width": 2,
    "encoder_blocks": [1, 0, 2, 1],
    "middle_blocks": 1,
    "decoder_blocks": [1, 2, 0, 1],
}


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _small(seed: int = 0, **options: Any) -> nn.Module:
    """Return a network in which every layer has an effect."""
    model = build_model("nafnet", **{**SMALL, **options}).double()
    initialize(model, "pytorch", seed)
    for block in (m for m in model.modules() if isinstance(m, NAFBlock)):
        nn.init.constant_(block.beta, 0.5)
        nn.init.constant_(block.gamma, 0.5)
    return model


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 29_159_715),
        ({"kernel_size": 5}, 29_478_179),
        ({"width": 16}, 7_371_923),
        ({"width": 16, "kernel_size": 5}, 7_531_155),
        ({"width": 64}, 115_982_915),
        (GOPRO, 17_111_907),
        ({"channels": 1}, 29_159_715 - 2 * 2 * 9 * 32 - 2),
    ],
)
def test_number_of_parameters(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("nafnet", **options)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("options", "millions"), [({}, 4_014), ({"kernel_size": 5}, 4_224), ({"width": 16}, 1_033)]
)
@pytest.mark.slow
def test_multiplications_for_an_image_of_128_pixels(
    options: dict[str, Any], millions: int
) -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("nafnet", **options), torch.empty(1, 3, 128, 128)

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    assert round(counter.get_total_flops() / 2e6) == millions


@pytest.mark.parametrize(
    ("kernel_size", "density"), [(3, (0.9,)), (5, (0.8, 0.9)), (7, (0.7, 0.8, 0.9))]
)
def test_sites_and_other_convolutions(kernel_size: int, density: tuple[float, ...]) -> None:
    with torch.device("meta"):
        model = build_model("nafnet", kernel_size=kernel_size)

    found = sites(model, density)

    sizes = [m.kernel_size[0] for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert (len(found), sizes.count(2), sizes.count(1)) == (38, 4, 184)
    assert len(sizes) == 226


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("size", [(1, 1), (16, 32), (17, 5)])
def test_an_image_of_any_size_keeps_its_shape(size: tuple[int, int], kernel_size: int) -> None:
    model = _small(channels=2, kernel_size=kernel_size)

    assert model(_random(2, 2, *size)).shape == (2, 2, *size)


def test_the_margin_is_zero_at_the_right_and_the_bottom() -> None:
    model = _small()
    noisy_BCHW = _random(1, 3, 19, 30)
    padded_BCHW = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    padded_BCHW[..., :19, :30] = noisy_BCHW

    denoised_BCHW = model(noisy_BCHW)

    assert torch.equal(denoised_BCHW, model(padded_BCHW)[..., :19, :30])


def test_it_starts_as_the_identity() -> None:
    model = build_model("nafnet", **SMALL)
    noisy_BCHW = _random(2, 3, 17, 16).float()

    initialize(model, "kaiming", seed=7)

    assert torch.equal(model(noisy_BCHW), noisy_BCHW)


def test_the_output_is_the_input_plus_the_last_convolution() -> None:
    model = _small()
    assert isinstance(model, ResidualDenoiser)
    last = model.residual_output
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 0.25)
    noisy_BCHW = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[None, :, None, None]

    denoised_BCHW = model(noisy_BCHW)

    assert denoised_BCHW.flatten().tolist() == [1.25, 2.25, 3.25]
    assert [name for name in model.state_dict() if "residual" in name] == []


@pytest.mark.parametrize("option", ["encoder_blocks", "decoder_blocks"])
def test_a_negative_number_of_blocks_is_refused(option: str) -> None:
    with pytest.raises(JobError) as raised:
        build_model("nafnet", **{**SMALL, option: [1, 1, -2, 1]})

    assert str(raised.value) == "models: a level cannot have -2 blocks. Give 0 or more."


# The layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layer_norm_is_that_of_the_channels(memory_format: torch.memory_format) -> None:
    norm, reference = LayerNorm2d(5).double(), nn.LayerNorm(5, eps=1e-6).double()
    for layer in (norm, reference):
        layer.weight.data.copy_(torch.linspace(0.5, 2.0, 5))
        layer.bias.data.copy_(torch.linspace(-1.0, 1.0, 5))
    x_BCHW = (3 + _random(2, 5, 4, 3)).to(memory_format=memory_format)

    y_BCHW = norm(x_BCHW)

    expected_BCHW = reference(x_BCHW.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(y_BCHW, expected_BCHW, rtol=1e-12, atol=1e-12)


def test_layer_norm_starts_with_mean_zero_and_variance_one() -> None:
    x_BCHW = _random(1, 64, 2, 2)

    y_BCHW = LayerNorm2d(64).double()(x_BCHW)

    torch.testing.assert_close(y_BCHW.mean(1), torch.zeros(1, 2, 2).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        y_BCHW.square().mean(1), torch.ones(1, 2, 2).double(), rtol=1e-5, atol=0
    )


def test_the_gate_multiplies_the_halves_of_the_channels() -> None:
    x_BCHW = torch.tensor([2.0, 3.0, 5.0, 7.0])[None, :, None, None]

    y_BCHW = SimpleGate()(x_BCHW)

    assert y_BCHW.flatten().tolist() == [10, 21]


def test_channel_attention_scales_by_the_means() -> None:
    attention = ChannelAttention(2)
    with torch.no_grad():
        attention.weigh.weight.copy_(torch.tensor([[0.0, 1.0], [10.0, 0.0]])[:, :, None, None])
        attention.get_parameter("weigh.bias").copy_(torch.tensor([0.0, 1.0]))
    # Means 2 and 5, factors 5 and 10 * 2 + 1
    x_BCHW = torch.tensor([[[[1.0, 3.0]], [[4.0, 6.0]]]])

    y_BCHW = attention(x_BCHW)

    assert y_BCHW.tolist() == [[[[5, 15]], [[84, 126]]]]


def test_a_block_starts_as_the_identity() -> None:
    block = NAFBlock(2, 3)
    x_BCHW = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    y_BCHW = block(x_BCHW)

    assert torch.equal(y_BCHW, x_BCHW)


def test_the_second_half_of_a_block_takes_the_result_of_the_first() -> None:
    block = NAFBlock(2, 3).double()
    nn.init.constant_(block.beta, 2.0)
    nn.init.constant_(block.gamma, 3.0)
    x_BCHW = _random(1, 2, 4, 4)

    z_BCHW = block(x_BCHW)

    y_BCHW = x_BCHW + 2 * block.mix(x_BCHW)
    torch.testing.assert_close(z_BCHW, y_BCHW + 3 * block.feed_forward(y_BCHW))


def test_stacked_networks_give_what_each_gives_alone() -> None:
    models = [_small(seed) for seed in range(2)]
    noisy_BCHW = _random(1, 3, 16, 16)

    def one(state: dict[str, Tensor]) -> Tensor:
        denoised_BCHW: Tensor = functional_call(models[0], state, (noisy_BCHW,))
        return denoised_BCHW

    together = vmap(one)(stack_module_state(models)[0])

    alone = torch.stack([model(noisy_BCHW) for model in models])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_smoke_run_has_every_kind_of_layer() -> None:
    with torch.device("meta"):
        full, smoke = build_model("nafnet"), build_model("nafnet", **SMOKE)

    assert {type(m) for m in smoke.modules()} == {type(m) for m in full.modules()}
