"""Network in Network for small images, of Lin et al. 2013 (arXiv:1312.4400)."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

# A smoke run trains it with these.
SMOKE: dict[str, object] = {"width": 12}


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    width: Annotated[int, Field(ge=2)] = 192,
    batch_norm: bool = False,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5] = 3,
) -> nn.Module:
    """Return a network that maps images (B, C, H, W) of any size to logits (B, num_classes).

    Three times a k x k convolution and two 1x1 convolutions, each with a bias and a ReLU, the last
    one with a channel per class; between them 3x3 pooling with stride 2, of the maximum after
    the first three and of the mean after the second three, and dropout; at last the mean over the
    image. The logits of an image are thus never negative, as in the original; where all are zero,
    the image has no gradient.

    Args:
        num_classes: number of logits.
        width: channels of most convolutions; the second has 5/6 of it and the third half of it,
            rounded down.
        batch_norm: true puts a batch norm between each convolution and its ReLU, in place of the
            bias, and gives the logits neither batch norm nor ReLU; it is not part of the original.
        dropout: probability with which an activation is dropped in training.
        channels: channels of the image.
        kernel_size: of the first two k x k convolutions, pixels; the third is always 3x3. The
            original takes 5.
    """

    def convolution(
        in_channels: int, out_channels: int, size: int, *, is_last: bool = False
    ) -> Iterator[nn.Module]:
        normalized = batch_norm and not is_last
        yield nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=not normalized)
        if normalized:
            yield nn.BatchNorm2d(out_channels)
        if normalized or not batch_norm:
            yield nn.ReLU(inplace=True)

    half, most = width // 2, width * 5 // 6
    return nn.Sequential(
        *convolution(channels, width, kernel_size),
        *convolution(width, most, 1),
        *convolution(most, half, 1),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout(dropout),
        *convolution(half, width, kernel_size),
        *convolution(width, width, 1),
        *convolution(width, width, 1),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Dropout(dropout),
        *convolution(width, width, 3),
        *convolution(width, width, 1),
        *convolution(width, num_classes, 1, is_last=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
