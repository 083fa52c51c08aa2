"""The sites: the convolutions of a model on which a density acts. The rule lives here alone."""

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn

from wconv_kernels.conv import WeightedConv
from wconv_kernels.density import Densities, densities_by_size
from wconv_kernels.errors import SiteError

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def sites(
    model: nn.Module,
    density: Densities,
    *,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> dict[str, Convolution]:
    """Return the convolutions on which the density acts, by name; the model is not changed.

    A site is an nn.Conv1d, nn.Conv2d or nn.Conv3d with a square, odd kernel above 1 whose size
    is that of the density (or of one density of a mapping). Layers that are weighted already keep
    their density and are not sites. A layer that stands in the model under several names is listed
    under each.

    Args:
        density: one density, or a mapping such as `{3: (0.8,), 5: (0.6, 0.9)}`.
        include: names of layers, or patterns such as "encoder.*"; None takes all.
        exclude: names or patterns of layers that stay plain.

    Raises:
        DensityError: the density is wrong.
        SiteError: a density finds no site; a name or pattern matches no convolution; a site is of
            a subclass with its own forward, or its weight is computed or not yet there, or is
            shared with a layer that is not a site.
    """
    sizes = densities_by_size(density)
    named = dict(_named_convolutions(model))
    for pattern in (*(include or ()), *exclude):
        _check_pattern(pattern, named)
    found: dict[str, Convolution] = {}
    for name, conv in named.items():
        if isinstance(conv, WeightedConv) or conv.kernel_size[0] not in sizes:
            continue
        if len(set(conv.kernel_size)) != 1:
            continue
        if include is not None and not _matches(name, include):
            continue
        if _matches(name, exclude):
            continue
        _check_plain(name, conv)
        found[name] = conv
    _check_every_density_acts(sizes, found, named)
    _check_weights_are_not_shared(model, found)
    return found


def _named_convolutions(model: nn.Module) -> Iterator[tuple[str, Convolution]]:
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            yield name, module


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_pattern(pattern: str, named: dict[str, Convolution]) -> None:
    if any(fnmatchcase(name, pattern) for name in named):
        return
    near = difflib.get_close_matches(pattern, named, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SiteError(f"no convolution of the model is called {pattern!r}{hint}")


def _check_plain(name: str, conv: Convolution) -> None:
    if type(conv) not in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        raise SiteError(
            f"{name!r} is a {type(conv).__name__}, which may do something else with its weight "
            f"than nn.Conv does; leave it out with exclude=[{name!r}], or make it a plain nn.Conv "
            "(a lazy layer becomes one with the first batch)",
            layer=name,
        )
    if "weight" not in dict(conv.named_parameters(recurse=False)):
        raise SiteError(
            f"the weight of {name!r} is computed (weight_norm, pruning), not a parameter; leave "
            f"it out with exclude=[{name!r}], or remove the reparametrization",
            layer=name,
        )


def _check_every_density_acts(
    sizes: dict[int, tuple[float, ...]],
    found: dict[str, Convolution],
    named: dict[str, Convolution],
) -> None:
    idle = sorted(sizes.keys() - {conv.kernel_size[0] for conv in found.values()})
    if not idle:
        return
    present = sorted({tuple(conv.kernel_size) for conv in named.values()})
    weighted = sum(isinstance(conv, WeightedConv) for conv in named.values())
    raise SiteError(
        f"the density for kernel size {', '.join(map(str, idle))} finds no convolution to act on: "
        f"the model has kernels of size {present or 'none'}, {weighted} layer(s) are weighted "
        "already, and include and exclude may leave some out"
    )


def _check_weights_are_not_shared(model: nn.Module, found: dict[str, Convolution]) -> None:
    weights = {id(conv.weight): name for name, conv in found.items()}
    for module_name, module in model.named_modules(remove_duplicate=False):
        for parameter_name, parameter in module.named_parameters(recurse=False):
            site = weights.get(id(parameter))
            if site is not None and module_name not in found:
                raise SiteError(
                    f"the weight of {site!r} is also {parameter_name!r} of {module_name!r}, on "
                    "which the density does not act; take in both or neither"
                )
