"""NAFNet, the denoiser without activation functions of Chen et al. 2022 (arXiv:2204.04676)."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from wconv_jobs.models._nafnet import NAFBlock, NAFNet, blocks

# A smoke run trains it with these; no kind of layer is missing.
SMOKE: dict[str, object] = {
    "width": 4,
    "encoder_blocks": (1, 1, 1, 1),
    "middle_blocks": 1,
    "decoder_blocks": (1, 1, 1, 1),
}


def build(
    *,
    width: Annotated[int, Field(ge=1)] = 32,
    encoder_blocks: tuple[int, int, int, int] = (2, 2, 4, 8),
    middle_blocks: Annotated[int, Field(ge=0)] = 12,
    decoder_blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5, 7] = 3,
) -> nn.Module:
    """Return a NAFNet.

    y = x + R(x). R is a convolution to `width` channels, four levels that each halve the image
    and double the channels, blocks at the bottom, four levels back up that each add what the level
    on the way down had, and a convolution to the channels of the image.

    Args:
        width: channels at the full size of the image.
        encoder_blocks: number of blocks at each level on the way down, the full size first.
        middle_blocks: number of blocks at a sixteenth of the size.
        decoder_blocks: number of blocks at each level on the way up, an eighth of the size first.
        channels: channels of the image.
        kernel_size: of the first and the last convolution and of the depthwise one in every
            block, pixels; they keep the size of the image. All others have 1 x 1, and 2 x 2
            where the image is halved.

    Raises:
        JobError: a number of blocks is negative.
    """
    encoders = [
        blocks(partial(NAFBlock, width << level, kernel_size), number)
        for level, number in enumerate(encoder_blocks)
    ]
    return NAFNet(width, encoders, middle_blocks, decoder_blocks, channels, kernel_size)
