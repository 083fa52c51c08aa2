"""Before training on several ranks: would these ranks train the network that one rank trains?

Each rank sees its share of the batch. The result is that of one rank as long as the output for a
sample depends on this sample alone, and nothing is drawn at random; BatchNorm and Dropout, which
break both, are shared among the ranks (`wconv_jobs.training.rank_invariance`). So what is left is
tried here, on one rank: a few samples together, and once more in two shares.
"""

import contextlib
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wconv_jobs.errors import JobError
from wconv_jobs.tasks.task import Task
from wconv_jobs.training.probe import (
    Source,
    few_samples,
    levels_of,
    random_state_kept,
    round_otherwise,
    set_levels,
    standing_still,
    tried,
)
from wconv_jobs.training.world import World

Problem = tuple[str, str]
"""What ranks would do otherwise, and the remedy."""
_ELSE = (
    "or set trial.ranks to 1. With recipe.batch_norm_over: rank it is trained all the same, to a "
    "result that depends on the number of ranks."
)
_REMEDY = f"Use torch's own layers, {_ELSE}"
_DRAWING_REMEDY = f"Use nn.Dropout, or turn it off (often by a rate of 0), {_ELSE}"
_EVALUATION_REMEDY = (
    f"Use BatchNorm with track_running_stats=True, and other norms without, {_ELSE}"
)


def check_shares(
    model: nn.Module,
    task: Task,
    world: World,
    label_smoothing: float,
    build: Source | None = None,
) -> None:
    """Compare what a network makes of a few samples with what it makes of two shares of them.

    In training and in evaluation, on copies, see `wconv_jobs.training.probe.tried`. In float64,
    since rounding may flip what has a threshold; a network that takes no float64 is compared in
    its own numbers.

    Args:
        model: as it is to be trained; not changed.
        task: gives samples and the loss.
        world: the ranks that train it.
        label_smoothing: of the loss.
        build: builds another network like this one.

    Raises:
        JobError: on several ranks the network would be trained otherwise than on one; the message
            names the layer.
    """
    inputs, targets = few_samples(task)
    own = next((parameter.dtype for parameter in model.parameters()), inputs.dtype)

    def mixing_in(dtype: torch.dtype) -> Callable[[Source], Problem | None]:
        values = targets.to(dtype) if targets.is_floating_point() else targets
        trial = _Trial(task, world, inputs.to(dtype), values, label_smoothing)
        return lambda new: _mixing(new, trial)

    def drawing(new: Source) -> Problem | None:
        return _drawing(new, world, inputs.to(own))

    problem = None
    for attempt in (drawing, mixing_in(torch.float64), mixing_in(own)):
        # Whatever else is wrong, training shows it with its own traceback.
        with contextlib.suppress(Exception), random_state_kept(world.device):
            problem = tried(model, build, attempt)
            if problem is not None or attempt is not drawing:
                break
    if problem is not None:
        fault, remedy = problem
        raise JobError(
            f"on {world.size} ranks the network would not be trained as on one: {fault}. {remedy}"
        )


def _drawing(new: Source, world: World, inputs: Tensor) -> Problem | None:
    """Say which layer draws random numbers."""
    with torch.no_grad():
        whole = _pass(standing_still(new()), inputs, world)
    if whole.drawing is None:
        return None
    return f"{whole.drawing} draws random numbers, for each share of the batch", _DRAWING_REMEDY


@dataclass(frozen=True)
class _Trial:
    """Samples, and how to try networks with them."""

    task: Task
    world: World
    inputs: Tensor
    targets: Tensor
    label_smoothing: float

    def passes(self, models: list[nn.Module]) -> tuple["_Pass", list["_Pass"]]:
        """Return what one network makes of all samples, and the others of a share of them each."""
        whole = _pass(models[0], self.inputs, self.world)
        for model in models[1:]:
            set_levels(model, levels_of(models[0]))
        parts = zip(models[1:], self.inputs.chunk(2), strict=True)
        return whole, [_pass(model, part, self.world) for model, part in parts]

    def losses(self, whole: "_Pass", shares: list["_Pass"]) -> list[Tensor]:
        """Return the loss of all samples, and that of each share."""
        outputs = [whole.output, *(share.output for share in shares)]
        targets = [self.targets, *self.targets.chunk(2)]
        return [
            self.task.loss(*pair, label_smoothing=self.label_smoothing)
            for pair in zip(outputs, targets, strict=True)
        ]


def _mixing(new: Source, trial: _Trial) -> Problem | None:
    """Say which layer lets a sample depend on others, or that the loss does."""
    models = [standing_still(new()).to(trial.inputs.dtype) for _ in range(3)]
    with torch.no_grad():
        whole, shares = trial.passes(models)
        if not _close(whole.output, torch.cat([share.output for share in shares])):
            name = _first_to_differ(whole, shares[0])
            return f"what {name} makes of a sample depends on the others of the batch", _REMEDY
        loss, *parts = trial.losses(whole, shares)
        if not _close(loss, torch.stack(parts).mean()):
            return (
                "the loss of a batch is not the mean over the losses of its samples",
                "Make it the mean, or set trial.ranks to 1.",
            )
        problem = _mixing_in_evaluation(models, trial.world, trial.inputs)
    with contextlib.suppress(Exception):
        problem = problem or _differing_gradient(new, trial)
    return problem


def _differing_gradient(new: Source, trial: _Trial) -> Problem | None:
    """Say for which parameter the gradient of a batch is not the mean over those of its shares.

    At the weights that training starts from, zeros included, where rounding may decide.
    """
    dtype = trial.inputs.dtype
    models = [standing_still(new(), draw=False).to(dtype) for _ in range(3)]
    for model in models[1:]:
        round_otherwise(model)
    losses = trial.losses(*trial.passes(models))
    trained = [
        {name: one for name, one in model.named_parameters() if one.requires_grad}
        for model in models
    ]
    whole, *shares = (
        torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
        for parameters, loss in zip(trained, losses, strict=True)
    )
    largest = max(float(gradient.abs().max()) for gradient in whole if gradient.numel())
    off = {
        name: float((gradient - (one + other) / 2).abs().max())
        for name, gradient, one, other in zip(trained[0], whole, *shares, strict=True)
        if gradient.numel()
    }
    name = max(off, key=lambda name: off[name])
    if not off[name] > _tolerance(dtype) * largest:
        return None
    return (
        f"the gradient of {name!r} for a batch is not the mean over those for its shares, "
        "although the output is the same. Either a backward pass takes the samples together, or "
        "rounding decides, as where a norm takes a single value and ReLU follows",
        f"Change the layer, give it larger samples, {_ELSE}",
    )


def _mixing_in_evaluation(models: list[nn.Module], world: World, inputs: Tensor) -> Problem | None:
    """Say which layer shows in evaluation what it was trained on, or what is evaluated with it.

    Args:
        models: one that has seen all inputs in training, and one that has seen the first share.
    """
    for model in models:
        model.eval()
    expected = _pass(models[0], inputs, world)
    followed = _pass(models[1], inputs, world)
    share, other = (_pass(models[0], part, world) for part in inputs.chunk(2))
    if not _close(expected.output, followed.output):
        name = _first_to_differ(expected, followed)
        return (
            f"in training {name} follows the samples of its rank, and shows it in evaluation",
            _EVALUATION_REMEDY,
        )
    if not _close(expected.output, torch.cat([share.output, other.output])):
        name = _first_to_differ(expected, share)
        return (
            f"in evaluation what {name} makes of a sample depends on the others of its batch, "
            "which the ranks share otherwise",
            _EVALUATION_REMEDY,
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
    with random_state_kept(world.device):
        seen.output = model(inputs)
    for hook in hooks:
        hook.remove()
    return seen


def _random_state(world: World) -> tuple[Any, ...]:
    states = [torch.get_rng_state()]
    if world.device.type == "cuda":
        states.append(torch.cuda.get_rng_state(world.device))
    numbers = pickle.dumps(np.random.get_state(legacy=False))
    return (*(bytes(state.numpy()) for state in states), numbers, random.getstate())


def _first_to_differ(whole: _Pass, share: _Pass) -> str:
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
        and len(one) >= len(other)
        and _close(one[: len(other)], other)
        for one, other in zip(whole, share, strict=True)
    )


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    # Without BatchNorm, values may overflow: they are then the same in both, and no measure.
    finite = one.detach().abs().nan_to_num(0.0, 0.0)
    largest = float(finite.max()) if one.numel() else 0.0
    atol = _tolerance(one.dtype) * largest
    return torch.allclose(one, other, rtol=0.0, atol=atol, equal_nan=True)


def _tolerance(dtype: torch.dtype) -> float:
    """Of the largest value; in float64 rounding stays far below."""
    return 1e-6 if dtype == torch.float64 else 1e-3


def _tensors(values: Any) -> list[Tensor]:
    return [value.detach() for value in values if isinstance(value, Tensor) and value.ndim > 0]


def _words(name: str, layer: nn.Module) -> str:
    kind = getattr(layer, "kind", type(layer).__name__)
    return f"layer {name!r} ({kind})" if name else f"the network ({kind})"
