"""GAC-SNN: size, cost, shape, and neurons whose spikes and gradients can be worked out by hand."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from wconv_jobs.models import build_model
from wconv_jobs.models.gac_snn import (
    GACSNN,
    SMOKE,
    GatedAttention,
    LeakyNeurons,
    ResidualBlock,
    fire,
)
from wconv_jobs.training.initialization import initialize
from wconv_kernels import sites

# Shape letters: B batch, C channels, H height, W width, T time steps, N = T * B, time outermost.

SMALL: dict[str, Any] = {"width": 2, "num_classes": 3, "time_steps": 3}


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _small(seed: int = 0, **options: Any) -> GACSNN:
    model = build_model("gac_snn", **{**SMALL, **options}).double()
    assert isinstance(model, GACSNN)
    initialize(model, "kaiming", seed)
    return model


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 12_679_348),
        ({"time_steps": 2}, 12_679_336),
        ({"time_steps": 6}, 12_679_368),
        ({"attention": False}, 12_548_260),
        ({"num_classes": 10}, 12_633_178),
        ({"channels": 1}, 12_679_348 - 2 * 9 * 64),
        # Where a site had 9 weights, it has 25; the sites had 12,314,304.
        ({"kernel_size": 5}, 12_679_348 + 12_314_304 // 9 * 16),
    ],
)
def test_number_of_parameters(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("gac_snn", **options)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_sites_and_other_convolutions(kernel_size: int) -> None:
    with torch.device("meta"):
        model = build_model("gac_snn", kernel_size=kernel_size)

    found = sites(model, (0.8, 0.9) if kernel_size == 5 else (0.9,))

    sizes = [m.kernel_size[0] for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert (len(found), sizes.count(4), sizes.count(1)) == (17, 2, 3)
    assert len(sizes) == 22
    if kernel_size == 3:
        assert sum(site.weight.numel() for site in found.values()) == 12_314_304


def test_multiplications_for_one_image() -> None:
    with torch.device("meta"):
        model, image_BCHW = build_model("gac_snn"), torch.empty(1, 3, 32, 32)

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image_BCHW)

    stem = 32 * 32 * 9 * 3 * 64
    spatial_gates = 32 * 32 * 2 * 16 * 64 * 64
    temporal_gates = 2 * (4 * 2 + 2 * 4)
    # Per stage: pixels, then the first 3 x 3, the other ones, and the shortcut.
    stages = 32**2 * (9 * 64 * 128 + 5 * 9 * 128 * 128 + 64 * 128)
    stages += 16**2 * (9 * 128 * 256 + 5 * 9 * 256 * 256 + 128 * 256)
    stages += 8**2 * (9 * 256 * 512 + 3 * 9 * 512 * 512 + 256 * 512)
    found = counter.get_total_flops() // 2
    assert found == stem + spatial_gates + temporal_gates + 4 * stages + 512 * 100
    # The published code computes stem and spatial gates at each of the 4 time steps.
    assert round((found + 3 * (stem + spatial_gates)) / 1e6) == 9_402


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (9, 8)])
def test_an_image_of_any_size_gives_one_logit_per_class(
    size: tuple[int, int], attention: bool
) -> None:
    model = _small(attention=attention, channels=2)

    assert model(_random(2, 2, *size)).shape == (2, 3)


# The neurons -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_potential_leaks_adds_up_fires_and_is_reset(dtype: torch.dtype) -> None:
    # v before the reset:  0.75, 0.375 + 0.75 = 1.125 (fires), 0.5, 0.25 + 0.75 = 1 (fires), -1,
    # -0.5 + 1.25 = 0.75
    currents = torch.tensor([0.75, 0.75, 0.5, 0.75, -1.0, 1.25], dtype=dtype)

    spikes = torch.stack(fire(currents.unbind()))

    assert spikes.tolist() == [0, 1, 0, 1, 0, 0]
    assert spikes.dtype == dtype


@pytest.mark.parametrize(
    ("current", "slope"),
    [(-0.5, 0.0), (0.0, 0.0), (0.5, 0.5), (0.75, 0.75), (1.0, 1.0), (1.5, 0.5), (2.5, 0.0)],
)
def test_the_surrogate_derivative_is_a_triangle(current: float, slope: float) -> None:
    at = torch.tensor(current, requires_grad=True)

    (spike,) = fire([at])

    assert torch.autograd.grad(spike, at)[0].item() == slope


@pytest.mark.parametrize(
    ("first", "second", "gradients"),
    [
        # v1 = 0.75, silent: reset r1 = v1 (1 - s1), dr1/dv1 = 1 - 0.75 * 0.75 = 0.4375
        # v2 = 0.5 * 0.75 + 0.5 = 0.875: ds2/dv2 = 0.875
        (0.75, 0.5, (0.875 * 0.5 * 0.4375, 0.875)),
        # v1 = 1.25, fires: dr1/dv1 = 0 - 1.25 * 0.75 = -0.9375;  v2 = 0.5: ds2/dv2 = 0.5
        (1.25, 0.5, (0.5 * 0.5 * -0.9375, 0.5)),
    ],
)
def test_the_gradient_flows_through_leak_and_reset(
    first: float, second: float, gradients: tuple[float, float]
) -> None:
    currents = [torch.tensor(each, requires_grad=True) for each in (first, second)]

    _, last_spike = fire(currents)

    found = torch.autograd.grad(last_spike, currents)
    assert tuple(each.item() for each in found) == gradients


def test_the_samples_of_a_batch_are_charged_in_their_own_order() -> None:
    # Two time steps of two samples: the first sample fires at the second step, the other never.
    current_NCHW = torch.tensor([0.75, 0.25, 0.75, 0.25])[:, None, None, None]

    spikes_NCHW = LeakyNeurons(2)(current_NCHW)

    assert spikes_NCHW.flatten().tolist() == [0, 0, 1, 0]


def test_neurons_keep_the_memory_format() -> None:
    current_NCHW = torch.zeros(4, 3, 5, 5).to(memory_format=torch.channels_last)

    spikes_NCHW = LeakyNeurons(2)(current_NCHW)

    assert spikes_NCHW.is_contiguous(memory_format=torch.channels_last)


# torch itself instantiates the Function that it traces.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
def test_neurons_can_be_compiled_as_one_graph() -> None:
    current_NCHW = _random(4, 1, 2, 2).requires_grad_()
    neurons = LeakyNeurons(2)
    compiled = torch.compile(neurons, backend="eager", fullgraph=True)

    found, expected = compiled(current_NCHW), neurons(current_NCHW)

    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(s.sum(), current_NCHW)[0] for s in (found, expected)]
    assert torch.equal(*gradients)


# The network -----------------------------------------------------------------------------------


def test_gates_by_hand() -> None:
    attention = GatedAttention(1, 2)
    with torch.no_grad():
        attention.get_parameter("temporal.0.weight").copy_(torch.tensor([[1.0, 1.0]]))
        attention.get_parameter("temporal.2.weight").copy_(torch.tensor([[0.5], [1.0]]))
        for layer in (1, 4):
            weight = attention.get_parameter(f"spatial.{layer}.weight").zero_()
            weight[..., 1, 1] = 1.0
    # The spatial gates are (0, 2). The mean is 0.5 and the maximum 2, so that the perceptron
    # has 1 and 4 in its middle and gives (0.5, 1) and (2, 4), in sum (2.5, 5).
    current_BCHW = torch.tensor([[[[-1.0, 2.0]]]])

    gates = attention(current_BCHW)

    expected = torch.sigmoid(torch.tensor([[0.0, 2.5 * 2], [0.0, 5 * 2]]))
    torch.testing.assert_close(torch.stack(gates).flatten(1), expected)


def test_the_margins_of_the_spatial_gates_are_those_of_same_padding() -> None:
    attention = GatedAttention(2, 2).double()
    current_BCHW = _random(1, 2, 5, 6)
    weights = [attention.get_parameter(f"spatial.{layer}.weight") for layer in (1, 4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the copy that it makes for even kernels
        hidden_BCHW = F.conv2d(current_BCHW, weights[0], padding="same").relu()
        expected_BCHW = F.conv2d(hidden_BCHW, weights[1], padding="same")

    spatial_BCHW = attention.spatial(current_BCHW)

    torch.testing.assert_close(spatial_BCHW, expected_BCHW, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("attention", [True, False])
def test_the_logits_are_those_of_a_simulation_step_by_step(attention: bool) -> None:
    model = _small(attention=attention, width=4)
    image_BCHW = 2 * _random(2, 3, 9, 8)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 1.0
    model(image_BCHW)  # gives the batch norms statistics with which neurons fire
    model.eval()
    potentials: dict[str, Tensor | float] = {}

    def spike(name: str, current_BCHW: Tensor) -> Tensor:
        potential = 0.5 * potentials.get(name, 0.0) + current_BCHW
        spikes = (potential >= 1).double()
        potentials[name] = potential * (1 - spikes)
        return spikes

    def logits_of_step(step: int) -> Tensor:
        current_BCHW = model.stem(image_BCHW)
        x_BCHW = spike("stem", current_BCHW)
        if model.gates is not None:
            x_BCHW = x_BCHW * model.gates(current_BCHW)[step]
        for index, block in enumerate(model.blocks):
            assert isinstance(block, ResidualBlock)
            _, conv_1, norm_1, _, conv_2, norm_2 = block.residual
            hidden_BCHW = norm_1(conv_1(spike(f"{index} first", x_BCHW)))
            residual_BCHW = norm_2(conv_2(spike(f"{index} second", hidden_BCHW)))
            x_BCHW = residual_BCHW + block.shortcut(x_BCHW)
        rates_BC = spike("last", x_BCHW).mean((2, 3))
        assert rates_BC.any()
        logits: Tensor = model.head(rates_BC)
        return logits

    logits = model(image_BCHW)

    expected = torch.stack([logits_of_step(step) for step in range(3)]).mean(0)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


def test_stacked_networks_train_like_each_alone() -> None:
    models = [_small(seed) for seed in range(2)]
    image_BCHW = _random(2, 3, 8, 8)
    parameters, buffers = stack_module_state(models)

    def loss(state: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        logits: Tensor = functional_call(models[0], (state, buffers), (image_BCHW,))
        return logits.square().sum()

    together = vmap(grad(loss))(parameters, buffers)

    for index, model in enumerate(models):
        torch.autograd.backward(model(image_BCHW).square().sum())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                together[name][index], parameter.grad, rtol=1e-10, atol=1e-10
            )
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffers[name][index], buffer, rtol=1e-12, atol=1e-12)


def test_it_trains_in_bfloat16() -> None:
    model = _small().float()
    image_BCHW = _random(2, 3, 8, 8).float()

    with torch.autocast("cpu", torch.bfloat16):
        logits = model(image_BCHW)
    torch.autograd.backward(logits.float().square().sum())

    assert logits.dtype == torch.bfloat16
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_smoke_run_has_every_kind_of_layer() -> None:
    with torch.device("meta"):
        full, smoke = build_model("gac_snn"), build_model("gac_snn", **SMOKE)

    assert {type(m) for m in smoke.modules()} == {type(m) for m in full.modules()}
