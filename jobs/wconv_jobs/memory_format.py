"""The order in memory of a network's weights and of the images that it gets; the values stay."""

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


def arranged(images: Tensor, memory_format: MemoryFormat) -> Tensor:
    """Return images (B, C, H, W) laid out like the weights; samples of other shapes as they are.

    A network computes in the order of its input: weights alone do not decide.
    """
    if memory_format == "channels_last" and images.ndim == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images
