"""The raw weights inside the state_dict of an optimizer: saves and checks them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from wconv_kernels.errors import EngineError

STATE_KEY = "density_engine"
"""Key of the raw weights in the state_dict of an attached optimizer."""


def save_raw_weights(
    state_dict: dict[str, Any],
    density: Mapping[int, tuple[float, ...]],
    raw_weights: Mapping[str, Tensor],
) -> None:
    """Add W and the density to an optimizer's state_dict.

    Like the rest of that dict, the tensors are the live ones, not copies. Everything in it passes
    `torch.load(weights_only=True)`.
    """
    state_dict[STATE_KEY] = {
        "density": {size: list(values) for size, values in density.items()},
        "weights": dict(raw_weights),
    }


def read_raw_weights(
    state_dict: Mapping[str, Any],
    density: Mapping[int, tuple[float, ...]],
    raw_weights: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return the saved W by name, after a check that it belongs to this density and model.

    Raises:
        EngineError: there is no such state, or it was saved with another density or other sites.
    """
    if STATE_KEY not in state_dict:
        raise EngineError(
            "the optimizer state holds no raw weights: it was saved without a DensityEngine"
        )
    saved_density = {
        size: tuple(values) for size, values in state_dict[STATE_KEY]["density"].items()
    }
    if saved_density != density:
        raise EngineError(
            f"the optimizer state was saved with the density {saved_density}, but the engine has "
            f"{dict(density)}"
        )
    saved: dict[str, Tensor] = state_dict[STATE_KEY]["weights"]
    if _shapes(saved) != _shapes(raw_weights):
        raise EngineError(
            f"the optimizer state was saved for the sites {_shapes(saved)}, but the engine has "
            f"{_shapes(raw_weights)}; build the engine on the same model, before any wrapper"
        )
    return saved


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}
