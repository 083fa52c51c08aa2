"""Weighted convolutions put into a model, and folded back out of it."""

from copy import deepcopy
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from tests.kernels.networks import batch, loss_of, small_dncnn_5x5, small_resnet
from wconv_kernels import (
    SiteError,
    WeightedConv,
    WeightedConv1d,
    WeightedConv2d,
    fold,
    replace_convolutions,
    sites,
)


def weighted_layers(model: nn.Module) -> dict[str, WeightedConv]:
    return {name: m for name, m in model.named_modules() if isinstance(m, WeightedConv)}


def assert_same_state(actual: nn.Module, expected: nn.Module) -> None:
    assert actual.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(actual.state_dict()[name], value), name


def test_replacement_puts_weighted_layers_on_the_sites_and_returns_what_it_replaced() -> None:
    model = small_resnet()
    expected = sites(model, 0.7)

    replaced = replace_convolutions(model, 0.7)

    assert replaced == expected
    assert list(weighted_layers(model)) == ["0", "2.conv", "3", "6.conv", "8"]


def test_replacement_keeps_the_very_parameters_their_order_and_the_random_state() -> None:
    model = small_resnet()
    before = list(model.named_parameters())
    random_state = torch.get_rng_state()

    replace_convolutions(model, 0.7)

    after = list(model.named_parameters())
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(new is old for (_, new), (_, old) in zip(after, before, strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)


def test_replaced_layer_multiplies_the_weight_by_the_density_kernel() -> None:
    conv = nn.Conv2d(1, 1, 3, bias=False)
    nn.init.ones_(conv.weight)
    model = nn.Sequential(conv)

    replace_convolutions(model, 0.5)

    assert model(torch.ones(1, 1, 3, 3)).item() == 4 * 0.25 + 4 * 0.5 + 1


def test_a_mapping_serves_a_model_with_kernels_of_several_sizes() -> None:
    model = small_dncnn_5x5()

    replace_convolutions(model, {3: 0.8, 5: (0.25, 0.5)})

    layers = weighted_layers(model)
    assert {name: tuple(layer.density.tolist()) for name, layer in layers.items()} == {
        "0": (0.25, 0.5),
        "2": (0.25, 0.5),
        "5": (0.8,),
    }


def test_replacement_keeps_every_argument_of_the_stock_layer() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, (2, 1), (1, 2), 2, 2, False, "circular", dtype=torch.float64)
    ).eval()
    plain = deepcopy(model)

    replace_convolutions(model, 1.0)

    image = torch.randn(
        1, 4, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(model(image), plain(image))
    assert not model[0].training


@pytest.mark.parametrize(("trainable", "parameters"), [("per-layer", 2), ("shared", 1)])
def test_density_is_trained_per_layer_or_shared_by_the_model(
    trainable: Literal["per-layer", "shared"], parameters: int
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.LazyLinear(5))
    model(batch(0, torch.float32)[0])

    replace_convolutions(model, 0.7, trainable=trainable)
    torch.autograd.backward(loss_of(model, 0, torch.float32))

    densities = [p for name, p in model.named_parameters() if name.endswith("density")]
    assert len(densities) == parameters
    assert all(p.grad is not None and p.grad.abs() > 0 for p in densities)


def test_a_shared_density_of_a_mixed_model_is_one_parameter_per_kernel_size() -> None:
    model = small_dncnn_5x5()

    replace_convolutions(model, {3: 0.8, 5: (0.25, 0.5)}, trainable="shared")

    names = [name for name, _ in model.named_parameters() if name.endswith("density")]
    assert names == ["0.density", "5.density"]
    assert model.get_parameter("0.density") is model.get_parameter("2.density")


def test_an_unknown_kind_of_training_is_refused() -> None:
    with pytest.raises(ValueError, match='"no", "per-layer" or "shared", but got \'all\''):
        replace_convolutions(small_resnet(), 0.7, trainable="all")  # type: ignore[arg-type]  # wrong on purpose


def test_a_model_that_is_a_convolution_cannot_be_replaced_in_place() -> None:
    with pytest.raises(SiteError, match=r"put it into an nn\.Sequential"):
        replace_convolutions(nn.Conv2d(1, 1, 3), 0.7)


def test_tied_weights_and_a_layer_at_two_places_stay_tied() -> None:
    conv, twin = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
    twin.weight = conv.weight
    model = nn.Sequential(conv, twin, conv)

    replace_convolutions(model, 0.5)

    assert model[0] is model[2]
    assert model[1].weight is model[0].weight
    assert len(list(model.parameters())) == 3


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=3), st.integers(0, 2**32))
def test_folding_any_density_gives_the_identical_output(density: list[float], seed: int) -> None:
    torch.manual_seed(seed)
    size = 2 * len(density) + 1
    model = nn.Sequential(nn.Conv2d(1, 2, size, padding="same"), nn.ReLU(), nn.Conv2d(2, 1, size))
    replace_convolutions(model, density)
    image = torch.randn(1, 1, 9, 9)

    assert torch.equal(fold(model)(image), model(image))


def test_folded_state_loads_into_the_unmodified_network_with_identical_output() -> None:
    unmodified = small_resnet().eval()
    weighted = deepcopy(unmodified)
    replace_convolutions(weighted, 0.7)
    images, _ = batch(0)

    folded = fold(weighted)
    unmodified.load_state_dict(folded.state_dict())

    assert not weighted_layers(folded)
    assert torch.equal(folded(images), weighted(images))
    assert torch.equal(unmodified(images), weighted(images))


def test_a_model_with_a_computed_weight_elsewhere_is_folded() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        pointwise = weight_norm(nn.Conv2d(3, 2, 1))
    model = nn.Sequential(nn.Conv2d(2, 3, 3), pointwise)
    replace_convolutions(model, 0.8)
    images = torch.rand(1, 2, 6, 6)

    assert torch.equal(fold(model)(images), model(images))


def test_folding_leaves_the_weighted_model_as_it_is() -> None:
    model = small_resnet()
    replace_convolutions(model, 0.7)
    before = deepcopy(model)

    folded = fold(model)

    assert_same_state(model, before)
    assert folded.get_parameter("0.weight") is not model.get_parameter("0.weight")


def test_folding_works_for_a_trainable_density_and_for_a_single_layer() -> None:
    torch.manual_seed(0)
    layer = WeightedConv1d(1, 1, 3, density=nn.Parameter(torch.tensor([0.3])))
    line = torch.randn(1, 1, 8)

    folded = fold(layer)

    assert type(folded) is nn.Conv1d
    assert torch.equal(folded(line), layer(line))


def test_folding_keeps_tied_weights_tied_and_frozen_weights_frozen() -> None:
    conv, twin = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
    twin.weight = conv.weight
    model = nn.Sequential(conv, twin, conv)
    conv.weight.requires_grad_(False)
    replace_convolutions(model, 0.5)

    folded = fold(model)

    assert isinstance(folded, nn.Sequential)
    assert folded[0] is folded[2]
    assert folded[1].weight is folded[0].weight
    assert not folded[0].weight.requires_grad


def test_tied_weights_with_different_densities_fold_into_different_weights() -> None:
    first, second = WeightedConv2d(1, 1, 3, density=0.5), WeightedConv2d(1, 1, 3, density=2.0)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    image = torch.ones(1, 1, 6, 6)

    assert torch.equal(fold(model)(image), model(image))


def test_folding_a_model_without_weighted_layers_gives_a_copy() -> None:
    model = small_resnet()

    folded = fold(model)

    assert folded is not model
    assert_same_state(folded, model)


def test_folded_weight_is_the_product_of_weight_and_kernel() -> None:
    layer = WeightedConv1d(1, 1, 3, bias=False, density=0.5)
    nn.init.constant_(layer.weight, 2.0)

    weight: Tensor = fold(layer).get_parameter("weight")

    assert weight.flatten().tolist() == [1.0, 2.0, 1.0]
