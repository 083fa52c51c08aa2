"""Copies of networks that torch itself does not copy."""

from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)


def copied(model: _Module) -> _Module:
    """Return a deep copy; what a layer has computed and kept is copied as plain numbers.

    `torch.nn.utils.weight_norm` keeps its weight so, and computes it again before each pass; torch
    refuses to copy it.

    Raises:
        Exception: whatever a network raises that cannot be copied, because it holds a lock, say.
    """
    # The table of what deepcopy has copied already, by id.
    plain: dict[int, object] = {
        id(value): value.detach().clone()
        for layer in model.modules()
        for value in vars(layer).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return deepcopy(model, plain)
