"""The order in memory of a network's weights and of the images that it gets; the values stay."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wconv_jobs.spec import MemoryFormat

# Shape letters: B batch, C channels, H height, W width.


def arrange(model: nn.Module, memory_format: MemoryFormat) -> None:
    """Lay out the weights of 2-D convolutions, in place; others have no such choice."""
    if memory_format == "channels_last":
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def arranger(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that lays out images (B, C, H, W) as the network has its weights.

    A network computes in the order of its input: weights alone do not decide.
    """
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 4]
    if all(weight.is_contiguous() for weight in weights):
        return lambda images: images
    return lambda images: (
        images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
    )
