"""Before training on several ranks: would these ranks train the network that one rank trains?

Each rank sees its share of the batch. The result is that of one rank as long as the output for a
sample depends on this sample alone, and nothing is drawn at random; BatchNorm and Dropout, which
break both, are shared among the ranks (`wconv_jobs.training.rank_invariance`). So what is left is
tried here, on one rank: a few samples together, and once more in two shares.
"""

import contextlib
import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wconv_jobs.errors import JobError
from wconv_jobs.tasks.task import Task
from wconv_jobs.training.probe import few_samples, random_state_kept, standing_still
from wconv_jobs.training.world import World

Problem = tuple[str, str]
"""What ranks would do otherwise, and the remedy."""
_TOLERANCE = 1e-6
"""Of the largest output; in float64 rounding stays far below."""
_REMEDY = (
    "Use torch's own layers, or set trial.ranks to 1. With recipe.batch_norm_over: rank it is "
    "trained all the same, to a result that depends on the number of ranks."
)


def check_shares(model: nn.Module, task: Task, world: World, label_smoothing: float) -> None:
    """Compare a forward pass of a few samples with those of two shares of them.

    On a copy of the network, and in float64, since rounding may flip what has a threshold. Of a
    network that takes no float64, only the random numbers are checked; of one that cannot be
    copied, nothing.

    Args:
        model: as it is to be trained; not changed.
        task: gives samples and the loss.
        world: the ranks that train it.
        label_smoothing: of the loss.

    Raises:
        JobError: on several ranks the network would be trained otherwise than on one; the message
            names the layer.
    """
    # Whatever else is wrong, training shows it with its own traceback.
    problem = None
    with contextlib.suppress(Exception):
        problem = _drawing(model, task, world)
    if problem is None:
        with contextlib.suppress(Exception):
            problem = _mixing(model, task, world, label_smoothing)
    if problem is not None:
        fault, remedy = problem
        raise JobError(
            f"on {world.size} ranks the network would not be trained as on one: {fault}. {remedy}"
        )


def _drawing(model: nn.Module, task: Task, world: World) -> Problem | None:
    """Say which layer draws random numbers."""
    inputs, _ = few_samples(task)
    dtype = next((parameter.dtype for parameter in model.parameters()), inputs.dtype)
    whole = _pass(standing_still(model), inputs.to(dtype), world)
    if whole.drawing is None:
        return None
    return f"{whole.drawing} draws random numbers, for each share of the batch", _REMEDY


def _mixing(model: nn.Module, task: Task, world: World, label_smoothing: float) -> Problem | None:
    """Say which layer lets a sample depend on others, or that the loss does."""
    inputs, targets = few_samples(task)
    targets = targets.double() if targets.is_floating_point() else targets
    probe = standing_still(model).double()
    whole, *shares = (
        _pass(copy.deepcopy(probe), part, world)
        for part in (inputs.double(), *inputs.double().chunk(2))
    )
    if not _close(whole.output, torch.cat([share.output for share in shares])):
        name = _first_to_mix(whole, shares[0])
        return f"what {name} makes of a sample depends on the others of the batch", _REMEDY
    losses = [
        task.loss(share.output, part, label_smoothing=label_smoothing)
        for share, part in zip(shares, targets.chunk(2), strict=True)
    ]
    loss = task.loss(whole.output, targets, label_smoothing=label_smoothing)
    if not _close(loss, torch.stack(losses).mean()):
        return (
            "the loss of a batch is not the mean over the losses of its samples",
            "Make it the mean, or set trial.ranks to 1.",
        )
    return None


@dataclass
class _Pass:
    """What a forward pass has shown."""

    output: Tensor = field(default_factory=lambda: torch.empty(0))
    drawing: str | None = None
    """The innermost layer that drew random numbers first, in words."""
    layers: list[tuple[str, list[Tensor], list[Tensor]]] = field(default_factory=list)
    """Name, inputs and outputs of each layer, the inner ones before those they are part of."""


def _pass(model: nn.Module, inputs: Tensor, world: World) -> _Pass:
    seen = _Pass()
    states: list[Any] = []

    def before(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        states.append(_random_state(world))

    def after(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            if states.pop() != _random_state(world) and seen.drawing is None:
                seen.drawing = _words(name, layer)
            seen.layers.append((_words(name, layer), _tensors(arguments), _tensors([output])))

        return hook

    hooks = [layer.register_forward_pre_hook(before) for layer in model.modules()]
    hooks += [layer.register_forward_hook(after(name)) for name, layer in model.named_modules()]
    with torch.no_grad(), random_state_kept(world.device):
        seen.output = model(inputs)
    for hook in hooks:
        hook.remove()
    return seen


def _random_state(world: World) -> tuple[Any, ...]:
    states = [torch.get_rng_state()]
    if world.device.type == "cuda":
        states.append(torch.cuda.get_rng_state(world.device))
    numbers = np.random.get_state(legacy=False)["state"]
    return (*(bytes(state.numpy()) for state in states), repr(numbers), random.getstate())


def _first_to_mix(whole: _Pass, share: _Pass) -> str:
    """Return the first layer whose output differs although its input does not, in words."""
    for (name, inputs, outputs), (_, share_inputs, share_outputs) in zip(
        whole.layers, share.layers, strict=False
    ):
        is_same = inputs and _same_samples(inputs, share_inputs)
        if is_same and not _same_samples(outputs, share_outputs):
            return name
    return "the network"


def _same_samples(whole: list[Tensor], share: list[Tensor]) -> bool:
    return len(whole) == len(share) and all(
        one.shape[1:] == other.shape[1:]
        and len(one) == 2 * len(other)
        and _close(one[: len(other)], other)
        for one, other in zip(whole, share, strict=True)
    )


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    # Without BatchNorm, values may overflow: they are then the same in both, and no measure.
    finite = one.detach().abs().nan_to_num(0.0, 0.0)
    largest = float(finite.max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=_TOLERANCE * largest, equal_nan=True)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor) and value.ndim > 0]


def _words(name: str, layer: nn.Module) -> str:
    kind = type(layer).__name__
    return f"layer {name!r} ({kind})" if name else f"the network ({kind})"
