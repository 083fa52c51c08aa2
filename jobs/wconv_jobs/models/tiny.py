"""A classifier of 8,436 parameters for quick starts and tests."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

# The network is small enough for a smoke run as it is.
SMOKE: dict[str, object] = {}


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5, 7, 9, 11] = 3,
) -> nn.Module:
    """Return a network that maps images (B, C, H, W), H and W at least 4, to logits (B, classes).

    2 x [conv, batch norm, ReLU, max pooling by 2] with 16 and 32 channels, mean over the image,
    linear layer.

    Args:
        num_classes: number of logits.
        channels: channels of the image.
        kernel_size: of both convolutions, pixels; they keep the size of the image.
    """
    padding = kernel_size // 2
    return nn.Sequential(
        # Without bias, which the batch norm would subtract again.
        nn.Conv2d(channels, 16, kernel_size, padding=padding, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, kernel_size, padding=padding, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )
