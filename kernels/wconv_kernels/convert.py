"""Put weighted convolutions into any model, and fold them back into plain ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from wconv_kernels.conv import WeightedConv, WeightedConv1d, WeightedConv2d, WeightedConv3d
from wconv_kernels.copies import copied
from wconv_kernels.density import Densities, DensityLike, densities_by_size
from wconv_kernels.errors import SiteError
from wconv_kernels.sites import Convolution, sites


def replace_convolutions(
    model: nn.Module,
    density: Densities,
    *,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    trainable: Literal["no", "per-layer", "shared"] = "no",
) -> dict[str, Convolution]:
    """Replace the sites of the model, in place, by weighted convolutions with the same weights.

    The weighted layers hold the very parameters of the layers that they replace: an optimizer
    that was built before stays valid, and tied weights stay tied. Hooks on a replaced layer are
    not carried over.

    Args:
        density, include, exclude: as for `sites`.
        trainable: "no" fixes the density; "per-layer" gives each layer a parameter that starts
            at the density; "shared" gives all layers of one kernel size one parameter.

    Returns:
        The replaced stock convolutions by name; the weighted ones stand under these names in the
        model.

    Raises:
        DensityError, SiteError: as for `sites`; SiteError also where the model is itself a
            convolution, since a module cannot be replaced in place.
        ValueError: `trainable` is not one of the three.
    """
    if trainable not in ("no", "per-layer", "shared"):
        raise ValueError(f'trainable is "no", "per-layer" or "shared", but got {trainable!r}')
    found = sites(model, density, include=include, exclude=exclude)
    if "" in found:
        raise SiteError(
            "the model is itself a convolution and cannot be replaced in place; put it into an "
            "nn.Sequential"
        )
    values = densities_by_size(density)
    shared: dict[int, nn.Parameter] = {}
    # A layer that is called at two places of the model stays one layer.
    replacements: dict[int, WeightedConv] = {}
    for name, conv in found.items():
        if id(conv) not in replacements:
            size = conv.kernel_size[0]
            layer_density: DensityLike = values[size]
            if trainable == "per-layer":
                layer_density = _parameter(values[size], conv)
            elif trainable == "shared":
                layer_density = shared.setdefault(size, _parameter(values[size], conv))
            replacements[id(conv)] = _weighted(conv, layer_density)
        _put(model, name, replacements[id(conv)])
    return found


def fold(model: nn.Module) -> nn.Module:
    """Return a copy of the model in which stock convolutions hold V = W * Phi.

    The output is identical, and the state_dict loads into the network as it was before
    `replace_convolutions`. Layers that share weight and density share the folded weight. A model
    without weighted layers, such as one that a `DensityEngine` trained, comes back as a copy.
    """
    folded = copied(model)
    stock: dict[int, nn.Module] = {}
    weights: dict[tuple[int, tuple[float, ...]], nn.Parameter] = {}
    for name, layer in list(folded.named_modules(remove_duplicate=False)):
        if not isinstance(layer, WeightedConv):
            continue
        if id(layer) not in stock:
            tie = (id(layer.weight), tuple(layer.density.tolist()))
            if tie not in weights:
                weights[tie] = nn.Parameter(
                    layer.effective_weight().detach(), layer.weight.requires_grad
                )
            stock[id(layer)] = _stock(layer, weights[tie])
        if name == "":
            return stock[id(layer)]
        _put(folded, name, stock[id(layer)])
    return folded


_WEIGHTED: Mapping[int, type[WeightedConv]] = {
    1: WeightedConv1d,
    2: WeightedConv2d,
    3: WeightedConv3d,
}
_STOCK: Mapping[int, Callable[..., Convolution]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def _weighted(conv: Convolution, density: DensityLike) -> WeightedConv:
    # Built on the meta device: no second copy of the weights, no draw from the random generator.
    layer = _WEIGHTED[len(conv.kernel_size)](
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        "meta",
        conv.weight.dtype,
        density=density,
    )
    layer.weight = conv.weight
    layer.bias = conv.bias
    layer.set_density(density)  # once more, on the device of the weight
    return layer.train(conv.training)


def _stock(layer: WeightedConv, weight: nn.Parameter) -> nn.Module:
    conv = _STOCK[len(layer.kernel_size)](
        layer.weight.shape[1] * layer.groups,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        layer.bias is not None,
        layer.padding_mode,
        "meta",
        layer.weight.dtype,
    )
    conv.weight = weight
    conv.bias = layer.bias
    return conv.train(layer.training)


def _parameter(values: tuple[float, ...], conv: Convolution) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=conv.weight.dtype, device=conv.weight.device))


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
