"""What the checks before training share: a copy of the network to try, and a few samples."""

import contextlib
import copy
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from wconv_jobs.tasks.task import Task
from wconv_jobs.training.rank_invariance import BATCH_NORMS, SharedBatchNorm, SharedDropout

_SAMPLES = 4


def standing_still(model: nn.Module) -> nn.Module:
    """Return a copy for training, in which no sample meets another, and nothing is drawn.

    Of the layers that the ranks share, Dropout passes on its input, and BatchNorm only scales and
    shifts it. Weights that are all zero are drawn, since nothing would be seen behind them.

    Raises:
        Exception: whatever a network raises that cannot be copied.
    """
    model = copy.deepcopy(model)
    drawn = torch.Generator().manual_seed(0)
    for layer in model.modules():
        standing = _STANDING.get(type(layer))
        if standing is not None:
            layer.__class__ = standing
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=drawn))
    return model.train()


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


class _Affine(nn.Module):
    """What is left of BatchNorm without statistics: x * weight + bias, x of shape (B, C, ...)."""

    weight: Tensor | None
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        scaled = x if self.weight is None else x * self.weight.view(shape)
        return scaled if self.bias is None else scaled + self.bias.view(shape)


_STANDING: dict[type[nn.Module], type[nn.Module]] = {
    **dict.fromkeys((*BATCH_NORMS, nn.SyncBatchNorm, SharedBatchNorm), _Affine),
    SharedDropout: nn.Identity,
}
