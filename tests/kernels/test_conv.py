"""The weighted layers against the equation, and against the stock layers they stand in for."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wconv_kernels import (
    DensityError,
    WeightedConv,
    WeightedConv1d,
    WeightedConv2d,
    WeightedConv3d,
    weighted_conv,
)

LAYERS: dict[int, Callable[..., WeightedConv]] = {
    1: WeightedConv1d,
    2: WeightedConv2d,
    3: WeightedConv3d,
}
STOCK: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MODES = ("zeros", "reflect", "replicate", "circular")
# Sums of up to 5^3 * 4 products; the order of summation differs from the equation's.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-4}


def signal(ndim: int, channels: int = 4, size: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(ndim)
    return torch.randn(2, channels, *(size,) * ndim, generator=generator, dtype=torch.float64)


def test_a_1d_layer_gives_the_sum_that_one_computes_by_hand() -> None:
    layer = WeightedConv1d(1, 1, 3, bias=False, density=0.5)
    nn.init.constant_(layer.weight, 2.0)

    output = layer(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))

    # 2 * (0.5 * 1 + 2 + 0.5 * 3) and 2 * (0.5 * 2 + 3 + 0.5 * 4)
    assert output.tolist() == [[8.0, 12.0]]


def test_the_equation_gives_the_sum_that_one_computes_by_hand() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)

    output = weighted_conv(image, torch.ones(1, 1, 3, 3), 0.5, torch.tensor([100.0]))

    # corners 0 + 2 + 6 + 8, edges 1 + 3 + 5 + 7, center 4: 0.25 * 16 + 0.5 * 16 + 4 + 100
    assert output.tolist() == [[[[116.0]]]]


def test_the_equation_continues_a_signal_beyond_its_border_by_each_padding_mode() -> None:
    line = torch.tensor([[[1.0, 2.0, 3.0]]])
    shift_right = torch.tensor([[[1.0, 0.0, 0.0]]])

    def first_value(mode: str) -> float:
        return weighted_conv(line, shift_right, 1.0, padding=1, padding_mode=mode)[0, 0, 0].item()

    assert {mode: first_value(mode) for mode in MODES} == {
        "zeros": 0.0,
        "reflect": 2.0,
        "replicate": 1.0,
        "circular": 3.0,
    }


def test_the_equation_knows_no_other_padding_mode() -> None:
    with pytest.raises(ValueError, match=r"padding_mode is zeros, .* but got 'mirror'"):
        weighted_conv(torch.ones(1, 1, 3), torch.ones(1, 1, 3), 1.0, padding_mode="mirror")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stride", "dilation", "groups"), list(itertools.product((1, 2), (1, 2), (1, 2, 4)))
)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_every_layer_equals_the_equation(
    ndim: int, stride: int, dilation: int, groups: int, mode: str
) -> None:
    density = (0.7,)
    torch.manual_seed(1)
    layer = LAYERS[ndim](
        4, 8, 3, stride, 2, dilation, groups, True, mode, dtype=torch.float64, density=density
    )
    assert layer.bias is not None
    nn.init.normal_(layer.bias)

    output = layer(signal(ndim))

    expected = weighted_conv(
        signal(ndim),
        layer.weight,
        density,
        layer.bias,
        stride=stride,
        padding=2,
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
    )
    torch.testing.assert_close(output, expected, rtol=0, atol=TOLERANCE[torch.float64])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_kernel_of_size_five_equals_the_equation(ndim: int, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    layer = LAYERS[ndim](4, 3, 5, padding=2, dtype=dtype, density=(0.25, 1.5))
    input = signal(ndim).to(dtype)

    output = layer(input)

    expected = weighted_conv(input, layer.weight, (0.25, 1.5), layer.bias, padding=2)
    torch.testing.assert_close(output, expected, rtol=0, atol=TOLERANCE[dtype])


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    density=st.lists(st.floats(-2, 2), min_size=1, max_size=3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 3),
    mode=st.sampled_from(MODES),
)
@pytest.mark.slow
def test_any_2d_layer_equals_the_equation(
    density: list[float], stride: int, dilation: int, padding: int, mode: str
) -> None:
    torch.manual_seed(3)
    size = 2 * len(density) + 1
    geometry: dict[str, Any] = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "padding_mode": mode,
    }
    layer = WeightedConv2d(2, 3, size, **geometry, dtype=torch.float64, density=density)
    input = signal(2, channels=2, size=13)

    output = layer(input)

    expected = weighted_conv(input, layer.weight, density, layer.bias, **geometry)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", [0, 2, "same", "valid"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_density_of_ones_is_the_stock_convolution_bitwise(
    ndim: int, padding: int | str, mode: str
) -> None:
    arguments: dict[str, Any] = {
        "padding": padding,
        "dilation": 2,
        "groups": 2,
        "padding_mode": mode,
        "dtype": torch.float32,
    }
    stock = STOCK[ndim](4, 6, 3, **arguments)
    layer = LAYERS[ndim](4, 6, 3, **arguments, density=1.0)
    layer.load_state_dict(stock.state_dict(), strict=False)
    input = signal(ndim).float()

    assert torch.equal(layer(input), stock(input))


def test_an_input_without_a_batch_axis_is_taken_like_the_stock_layer_takes_it() -> None:
    torch.manual_seed(4)
    layer = WeightedConv2d(4, 2, 3, density=0.5, dtype=torch.float64)

    assert torch.equal(layer(signal(2)[0]), layer(signal(2))[0])


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients_of_input_weight_bias_and_density_are_right(ndim: int) -> None:
    torch.manual_seed(5)
    density = nn.Parameter(torch.tensor([0.6], dtype=torch.float64))
    layer = LAYERS[ndim](2, 2, 3, padding=1, dtype=torch.float64, density=density)
    input = signal(ndim, channels=2, size=3).requires_grad_()

    def call(input: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(layer.named_parameters()), parameters, strict=True))
        output: Tensor = torch.func.functional_call(layer, named, (input,))
        return output

    assert torch.autograd.gradcheck(call, (input, *layer.parameters()))


def test_a_fixed_density_is_a_buffer_and_not_a_parameter() -> None:
    layer = WeightedConv2d(1, 1, 3, density=(0.7,))

    assert set(dict(layer.named_parameters())) == {"weight", "bias"}
    assert set(dict(layer.named_buffers())) == {"density", "phi"}


def test_a_trainable_density_is_trained_with_the_weights() -> None:
    torch.manual_seed(6)
    layer = WeightedConv2d(4, 2, 3, density=nn.Parameter(torch.tensor([0.7])))
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)

    layer(signal(2).float()).square().mean().backward()
    optimizer.step()

    assert set(dict(layer.named_parameters())) == {"weight", "bias", "density"}
    assert abs(layer.density.item() - 0.7) > 1e-3


def test_layers_given_one_parameter_share_their_density() -> None:
    density = nn.Parameter(torch.tensor([0.7]))
    model = nn.Sequential(
        WeightedConv2d(1, 1, 3, density=density), WeightedConv2d(1, 1, 3, density=density)
    )

    model(torch.ones(1, 1, 5, 5)).sum().backward()

    assert sum(parameter is density for parameter in model.parameters()) == 1
    assert density.grad is not None


def test_a_layer_takes_another_density_and_keeps_its_weight() -> None:
    layer = WeightedConv1d(1, 1, 3, density=0.5)
    weight = layer.weight.clone()

    layer.set_density(nn.Parameter(torch.tensor([2.0])))
    layer.set_density(0.25)

    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.effective_weight(), weight * torch.tensor([0.25, 1.0, 0.25]))
    assert set(dict(layer.named_parameters())) == {"weight", "bias"}


def test_initial_weights_do_not_depend_on_the_density() -> None:
    def weight(density: float) -> Tensor:
        torch.manual_seed(7)
        return WeightedConv2d(3, 5, 3, density=density).weight

    assert torch.equal(weight(0.1), weight(2.0))


@pytest.mark.parametrize(("groups", "std"), [(1, (2 / (64 * 9)) ** 0.5), (64, (2 / 9) ** 0.5)])
def test_initial_weights_are_kaiming_normal_with_the_fan_of_one_group(
    groups: int, std: float
) -> None:
    torch.manual_seed(8)

    layer = WeightedConv2d(64, 64, 3, groups=groups, density=0.5)

    assert layer.weight.std().item() == pytest.approx(std, rel=0.1)
    assert layer.weight.mean().item() == pytest.approx(0.0, abs=0.1 * std)
    assert layer.bias is not None
    assert layer.bias.abs().max().item() == 0.0


def test_state_dict_restores_weight_and_density_bitwise_even_into_a_layer_cast_later() -> None:
    torch.manual_seed(9)
    trained = WeightedConv2d(4, 2, 3, density=0.7).double()

    resumed = WeightedConv2d(4, 2, 3, density=0.1).double()
    resumed.load_state_dict(trained.state_dict())

    assert torch.equal(resumed(signal(2)), trained(signal(2)))
    assert torch.equal(resumed.density, trained.density)


def test_device_and_dtype_are_taken_like_the_stock_layer_takes_them() -> None:
    layer = WeightedConv2d(1, 2, 3, device="meta", dtype=torch.float16, density=0.5)
    density = nn.Parameter(torch.empty(1, device="meta"))

    assert layer.phi is not None
    assert (layer.weight.device.type, layer.phi.device.type) == ("meta", "meta")
    assert (layer.weight.dtype, layer.phi.dtype) == (torch.float16, torch.float16)
    assert "density on the meta device" in repr(layer)
    assert "meta" in repr(WeightedConv2d(1, 2, 3, device="meta", density=density))


def test_repr_shows_the_density_and_whether_it_is_trained() -> None:
    fixed = WeightedConv2d(1, 2, 5, density=(0.25, 0.5))
    trainable = WeightedConv2d(1, 2, 3, density=nn.Parameter(torch.tensor([0.5])))

    assert "kernel_size=(5, 5), stride=(1, 1), density=(0.25, 0.5))" in repr(fixed)
    assert "trainable density=(0.5,)" in repr(trainable)


@pytest.mark.parametrize(
    ("kernel_size", "density", "message"),
    [
        (4, (0.5,), "odd kernel size above 1, .* but got 4"),
        (1, (0.5,), "odd kernel size above 1, .* but got 1"),
        ((3, 5), (0.5,), r"square kernel, but got kernel_size=\(3, 5\)"),
        (5, 0.5, "kernel_size 5 takes 2"),
        (3, nn.Parameter(torch.ones(2)), "kernel_size 3 takes 1"),
        (3, nn.Parameter(torch.tensor(0.5)), r"trainable density has shape \(n,\)"),
        (3, nn.Parameter(torch.tensor([float("nan")])), "must be finite"),
        (3, nn.Parameter(torch.empty(2, device="meta")), "kernel_size 3 takes 1"),
    ],
)
def test_a_density_that_does_not_fit_the_kernel_is_refused(
    kernel_size: int | tuple[int, int], density: Any, message: str
) -> None:
    with pytest.raises(DensityError, match=message):
        WeightedConv2d(1, 1, kernel_size, density=density)
