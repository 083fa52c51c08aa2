"""Which convolutions a density acts on."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from wconv_kernels import (
    DensityError,
    SiteError,
    WeightedConv2d,
    replace_convolutions,
    sites,
)


class StandardizedConv(nn.Conv2d):
    """A user's convolution that does something else with its weight."""


def mixed_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.Conv2d(2, 2, 5),
        nn.Conv2d(2, 2, 1),
        nn.Conv2d(2, 2, 4),
        nn.Conv2d(2, 2, (3, 5)),
        nn.ConvTranspose2d(2, 2, 3),
        nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 7)),
    )


def test_sites_are_the_square_odd_convolutions_of_the_size_of_the_density() -> None:
    model = mixed_model()

    assert list(sites(model, 0.7)) == ["0", "6.0"]
    assert list(sites(model, (0.6, 0.9))) == ["1"]
    assert list(sites(model, {3: 0.8, 7: (0.1, 0.2, 0.3)})) == ["0", "6.0", "6.1"]


def test_sites_gives_the_modules_and_leaves_the_model_as_it_is() -> None:
    model = mixed_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    found = sites(model, 0.7)

    assert found["0"] is model.get_submodule("0")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_all_three_dimensions_and_the_model_itself_can_be_sites() -> None:
    assert list(sites(nn.Conv1d(1, 1, 3), 0.7)) == [""]
    assert list(sites(nn.Sequential(nn.Conv3d(1, 1, 3)), 0.7)) == ["0"]


def test_include_and_exclude_choose_by_name_or_pattern() -> None:
    model = mixed_model()

    assert list(sites(model, 0.7, include=["6.*"])) == ["6.0"]
    assert list(sites(model, 0.7, exclude=["6.0"])) == ["0"]
    assert list(sites(model, 0.7, include=["*"], exclude=["0"])) == ["6.0"]


def test_a_name_that_is_no_convolution_is_refused_with_the_nearest_one() -> None:
    model = nn.ModuleDict({"stem": nn.Conv2d(1, 1, 3)})

    with pytest.raises(SiteError, match=r"is called 'stemm'; did you mean 'stem'\?"):
        sites(model, 0.7, exclude=["stemm"])
    with pytest.raises(SiteError, match=r"no convolution of the model is called 'decoder\.\*'$"):
        sites(model, 0.7, include=["decoder.*"])


def test_a_density_that_finds_no_site_is_refused_with_the_sizes_there_are() -> None:
    message = (
        r"kernel size 5 finds no convolution .* kernels of size \[\(1, 1\), \(3, 3\)\], 0 lay"
    )
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1))

    with pytest.raises(SiteError, match=message):
        sites(model, {3: 0.7, 5: (0.7, 0.8)})
    with pytest.raises(SiteError, match="the model has kernels of size none"):
        sites(nn.Linear(1, 1), 0.7)


def test_a_wrong_density_is_refused_before_the_model_is_looked_at() -> None:
    with pytest.raises(DensityError, match="must be finite"):
        sites(mixed_model(), float("nan"))


def test_layers_that_are_weighted_already_keep_their_density() -> None:
    model = nn.Sequential(WeightedConv2d(1, 1, 3, density=0.3), nn.Conv2d(1, 1, 3))

    assert list(sites(model, 0.7)) == ["1"]
    replace_convolutions(model, 0.7)
    with pytest.raises(SiteError, match=r"2 layer\(s\) are weighted already"):
        sites(model, 0.7)


def test_a_convolution_of_another_class_is_refused_until_it_is_left_out() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), StandardizedConv(1, 1, 3))

    with pytest.raises(SiteError, match=r"'1' is a StandardizedConv, .* exclude=\['1'\]"):
        sites(model, 0.7)
    assert list(sites(model, 0.7, exclude=["1"])) == ["0"]


def test_a_weight_that_is_computed_is_refused() -> None:
    parametrized = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 1, 3)))
    pruned = nn.Sequential(nn.Conv2d(1, 1, 3))
    prune.random_unstructured(pruned[0], "weight", 1)  # type: ignore[no-untyped-call]  # torch's

    with pytest.raises(SiteError, match="'0' is a ParametrizedConv2d"):
        sites(parametrized, 0.7)
    with pytest.raises(SiteError, match="the weight of '0' is computed"):
        sites(pruned, 0.7)


def test_a_lazy_layer_is_refused_until_it_has_seen_a_batch() -> None:
    model = nn.Sequential(nn.LazyConv2d(1, 3))

    with pytest.raises(SiteError, match="a lazy layer becomes one with the first batch"):
        sites(model, 0.7)
    model(torch.ones(1, 1, 4, 4))
    assert list(sites(model, 0.7)) == ["0"]


def test_a_layer_that_stands_at_two_places_is_listed_under_both_names() -> None:
    conv = nn.Conv2d(1, 1, 3)
    model = nn.Sequential(conv, nn.ReLU(), conv)

    assert list(sites(model, 0.7)) == ["0", "2"]
    with pytest.raises(SiteError, match="the weight of '0' is also 'weight' of '2'"):
        sites(model, 0.7, exclude=["2"])


def test_a_weight_shared_with_a_layer_that_is_no_site_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ConvTranspose2d(1, 1, 3))
    model[1].weight = model[0].weight

    with pytest.raises(SiteError, match="the weight of '0' is also 'weight' of '1'"):
        sites(model, 0.7)
