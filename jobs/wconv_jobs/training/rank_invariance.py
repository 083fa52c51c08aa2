"""Layers whose result does not depend on the number of ranks that share the batch.

With stock layers, BatchNorm takes its statistics from each rank's part of the batch, and Dropout
draws on each rank for itself: the same study on two and on four GPUs would train two networks.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wconv_jobs.training.world import World

# Shape letters: B batch (of this rank), C channels, N what is averaged over: batch and space.


def share_dropout(model: nn.Module, world: World) -> nn.Module:
    """Replace Dropout layers, on one rank as well, and return the model.

    Args:
        model: changed in place, unless it is itself such a layer.
        world: the ranks that train it, each on its share of the batch.
    """
    return _replaced(
        model,
        lambda layer: SharedDropout(layer.p, world) if type(layer) is nn.Dropout else None,
    )


def share_batch_norm(model: nn.Module, world: World) -> nn.Module:
    """Replace BatchNorm layers where there are several ranks, and return the model.

    Parameters and buffers stay the very same, under the same names; else as `share_dropout`.
    """
    if world.size == 1:
        return model
    if world.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    return _replaced(model, _shared_batch_norm)


class SharedDropout(nn.Module):
    """Dropout with one mask for the whole batch, of which each rank takes its part.

    Needs the same random state on all ranks, and batches of the same size.
    """

    def __init__(self, p: float, world: World) -> None:
        super().__init__()
        self.p = p
        self._world = world

    def forward(self, x: Tensor) -> Tensor:
        """Return x * mask / (1 - p) when training, else x; any shape that begins with B."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        samples = len(x)
        kept = torch.empty(
            samples * self._world.size, *x.shape[1:], dtype=x.dtype, device=x.device
        )
        kept.bernoulli_(1 - self.p).div_(1 - self.p)
        return x * kept[self._world.rank * samples : (self._world.rank + 1) * samples]


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm with the statistics of the whole batch, as nn.SyncBatchNorm, which needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (x - mean) / sqrt(var + eps) * weight + bias, x of shape (B, C, ...).

        Training: mean and biased variance over the batches of all ranks; they must be equal in
        size. As in torch's own, half precision is for the input and the output alone.
        """
        if not self.training:
            return super().forward(x)
        shape = (1, -1, *[1] * (x.ndim - 2))
        dims = [dim for dim in range(x.ndim) if dim != 1]
        size = x.numel() // x.shape[1] * dist.get_world_size()
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_C = _all_sum(wide.sum(dims)) / size
        centered = wide - mean_C.view(shape)
        var_C = _all_sum(centered.square().sum(dims)) / size
        self._follow(mean_C.detach(), var_C.detach() * (size / max(1, size - 1)))
        scale_C = (var_C + self.eps).rsqrt()
        if self.weight is not None:
            scale_C = scale_C * self.weight
        y = centered * scale_C.view(shape)
        return (y if self.bias is None else y + self.bias.view(shape)).to(x.dtype)

    def _follow(self, mean_C: Tensor, var_C: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        factor = self.momentum
        if factor is None:  # the plain average over all batches
            factor = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_C, factor)
        self.running_var.lerp_(var_C, factor)

    def _check_input_dim(self, _: Tensor) -> None:
        """Take any shape that begins with (B, C)."""


def _replaced(
    module: nn.Module, replacement_of: Callable[[nn.Module], nn.Module | None]
) -> nn.Module:
    replacement = replacement_of(module)
    if replacement is not None:
        return replacement.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, replacement_of))
    return module


def _shared_batch_norm(layer: nn.Module) -> nn.Module | None:
    if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return None
    shared = SharedBatchNorm(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
        "meta",
    )
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(shared, name, parameter)
    for name, buffer in layer.named_buffers(recurse=False):
        setattr(shared, name, buffer)
    return shared


class _AllSum(torch.autograd.Function):
    """The sum over the ranks; each rank's loss depends on each rank's part, so gradients add."""

    @staticmethod
    def forward(ctx: object, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _all_sum(part: Tensor) -> Tensor:
    total: Tensor = _AllSum.apply(part)  # type: ignore[no-untyped-call]
    return total
