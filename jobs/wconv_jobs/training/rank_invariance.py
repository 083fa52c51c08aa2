"""Layers whose result does not depend on the number of ranks that share the batch.

With stock layers, BatchNorm takes its statistics from each rank's part of the batch, and Dropout
draws on each rank for itself: the same study on two and on four GPUs would train two networks.
What other layers do is found by `wconv_jobs.training.share_check`.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wconv_jobs.training.world import World

# Shape letters: B batch (of this rank), C channels, N what is averaged over: batch and space.


def share_dropout(model: nn.Module, world: World) -> None:
    """Let the dropout layers draw the mask of the whole batch, on one rank as well.

    Args:
        model: changed in place, see `_become`.
        world: the ranks that train it, each on its share of the batch.
    """
    for layer in model.modules():
        ndim = _DROPOUT_NDIM.get(type(layer))
        if ndim is not None:
            layer._features_ndim = ndim  # type: ignore[assignment]
            layer._world = world  # type: ignore[assignment]
            _become(layer, SharedDropout)


def share_batch_norm(model: nn.Module, world: World) -> None:
    """Let BatchNorm take its statistics from the whole batch where there are several ranks.

    Args:
        model: changed in place, see `_become`; its parameters and buffers are not.
        world: as for `share_dropout`.
    """
    if world.size == 1:
        return
    for layer in model.modules():
        if type(layer) is nn.SyncBatchNorm and world.device.type != "cuda":
            _become(layer, SharedBatchNorm)  # torch's own needs a GPU
        elif type(layer) in BATCH_NORMS:
            if world.device.type == "cuda":
                layer.process_group = None  # type: ignore[assignment]
                _become(layer, nn.SyncBatchNorm)
            else:
                _become(layer, SharedBatchNorm)


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_DROPOUT_NDIM: dict[type[nn.Module], int] = {
    nn.Dropout: 0,
    nn.Dropout1d: 3,
    nn.Dropout2d: 4,
    nn.Dropout3d: 5,
}
"""Dimensions of the samples whose features a layer drops as a whole; 0: each value for itself."""


class SharedDropout(nn.modules.dropout._DropoutNd):
    """Dropout with one mask for the whole batch, of which each rank takes its part.

    Needs the same random state on all ranks, and batches of the same size. `share_dropout` alone
    makes one.
    """

    _world: World
    _features_ndim: int

    def forward(self, x: Tensor) -> Tensor:
        """Return x * mask / (1 - p) when training, else x; any shape that begins with B."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        samples = len(x)
        kept = torch.empty(
            samples * self._world.size, *self._shape_of_mask(x), dtype=x.dtype, device=x.device
        )
        kept.bernoulli_(1 - self.p).div_(1 - self.p)
        return x * kept[self._world.rank * samples : (self._world.rank + 1) * samples]

    def _shape_of_mask(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape of the mask of a sample, as torch's layer of this kind has it."""
        if self._features_ndim == 0:
            return tuple(x.shape[1:])
        # Dropout1d and 3d take the first dimension for the features where one is missing.
        features = 1 if self._features_ndim in (3, 5) and x.ndim == self._features_ndim - 1 else 2
        return (*x.shape[1:features], *[1] * (x.ndim - features))


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


def _become(layer: nn.Module, cls: type[nn.Module]) -> None:
    """Give a layer another class, with the same attributes.

    It stays the same object, wherever the network holds it: under several names, in a list, with
    hooks. Only layers whose class is exactly torch's may become another: what a subclass adds,
    such as an activation, would be lost without a word.
    """
    layer.__class__ = cls


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
