"""What the checks before training share: a network to try in place of it, and a few samples."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wconv_jobs.models import run_eagerly
from wconv_jobs.tasks.task import Task
from wconv_jobs.training.rank_invariance import BATCH_NORMS, SharedBatchNorm, SharedDropout
from wconv_kernels.copies import copied

_SAMPLES = 4
_SMALL = 1e-3
"""Weights below it all are drawn: the scales of branches often start near zero, as 1e-6."""

_Result = TypeVar("_Result")
Source = Callable[[], nn.Module]
"""Returns a network to try, a new one each time."""


def tried(model: nn.Module, build: Source | None, attempt: Callable[[Source], _Result]) -> _Result:
    """Return what an attempt with copies of a network returns.

    Some networks cannot be copied, and of others a copy is none: a hook, or another function that
    holds on to a layer, goes on to call the layer of the original. So a network with hooks is
    built anew, and any other one where an attempt fails.

    Args:
        model: as it is to be trained; not changed.
        build: builds another one; None: there is no other way than to copy.
        attempt: takes a source of networks that it may change.

    Raises:
        Exception: whatever the last attempt raises.
    """
    if build is not None and any(map(_has_hooks, model.modules())):
        return attempt(build)
    own = {id(layer) for layer in model.modules()}

    def refuse(layer: nn.Module, _: object) -> None:
        if id(layer) in own:  # hooks are copied as well
            raise RuntimeError("a copy of the network calls the network that it was made of")

    hooks = [layer.register_forward_pre_hook(refuse) for layer in model.modules()]
    try:
        return attempt(lambda: copied(model))
    except torch.OutOfMemoryError:
        raise
    except Exception:
        if build is None:
            raise
    finally:
        for hook in hooks:
            hook.remove()
    return attempt(build)


def _has_hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)


def standing_still(model: nn.Module, *, draw: bool = True) -> nn.Module:
    """Make a network for training one in which no sample meets another, and nothing is drawn.

    Of the layers that the ranks share, Dropout passes on its input, and BatchNorm divides it by a
    number that stays the same from its first batch on, see `levels_of`. Weights that are all zero,
    or next to it, are drawn, since nothing would be seen behind them.

    Args:
        model: changed in place, and returned.
        draw: False leaves the weights as they are.
    """
    run_eagerly(model)  # a few samples are not worth a compiler
    drawn = torch.Generator().manual_seed(0)
    for layer in model.modules():
        kind: type[nn.Module] = type(layer)
        if kind is SharedDropout:
            layer.__class__ = nn.Identity
        elif kind in _STEADIED:
            layer.kind = _STEADIED[kind]  # type: ignore[assignment]
            layer.level = None  # type: ignore[assignment]
            layer.__class__ = _Steady
    for parameter in model.parameters():
        small = draw and parameter.dtype.is_floating_point
        if small and not (parameter.abs() >= _SMALL).any():
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=drawn))
    return model.train()


def levels_of(model: nn.Module) -> list[float | None]:
    """Return by what the BatchNorms of a network that stands still divide, None before a batch."""
    return [layer.level for layer in model.modules() if isinstance(layer, _Steady)]


def set_levels(model: nn.Module, levels: list[float | None]) -> None:
    """Let the BatchNorms of another one divide by the same numbers."""
    steady = (layer for layer in model.modules() if isinstance(layer, _Steady))
    for layer, level in zip(steady, levels, strict=True):
        layer.level = level


def round_otherwise(model: nn.Module) -> None:
    """Change weights by a few units of their last bits, as another order of sums would."""
    drawn = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dtype.is_floating_point:
            noise = torch.randn(parameter.shape, generator=drawn).to(parameter)
            parameter.data.mul_(1 + 4 * torch.finfo(parameter.dtype).eps * noise)


def few_samples(task: Task) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of four training samples, or of two where there are no more."""
    return task.train_batch(0, range(min(_SAMPLES, task.epoch_samples) // 2 * 2))


@contextlib.contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Give the generators of torch, Python and NumPy the state back that they had before."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class _Steady(nn.Module):
    """What is left of BatchNorm without statistics: x / level * weight + bias, x (B, C, ...).

    The level keeps values from vanishing, or overflowing, through many layers: what one of the
    first ones does to them would else not be seen in the output. As BatchNorm without running
    statistics, in evaluation it still takes those of the batch.
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    eps: float
    kind: str
    level: float | None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.running_mean is None:
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        if self.level is None:
            level = float(x.detach().double().square().mean().sqrt())
            self.level = level if 0.0 < level < float("inf") else 1.0
        shape = (1, -1, *[1] * (x.ndim - 2))
        scaled = x / self.level
        scaled = scaled if self.weight is None else scaled * self.weight.view(shape)
        return scaled if self.bias is None else scaled + self.bias.view(shape)


_STEADIED: dict[type[nn.Module], str] = {
    **{kind: kind.__name__ for kind in (*BATCH_NORMS, nn.SyncBatchNorm)},
    SharedBatchNorm: "BatchNorm",
}
"""How a person calls a layer that stands still."""
