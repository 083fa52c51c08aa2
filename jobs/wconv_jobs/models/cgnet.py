"""CascadedGaze, the denoiser of Ghasemabadi et al. 2024 (arXiv:2401.15235).

A NAFNet whose blocks on the way down see far by convolutions with large strides.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from wconv_jobs.errors import JobError
from wconv_jobs.models._nafnet import (
    ChannelAttention,
    LayerNorm2d,
    NAFNet,
    blocks,
    depthwise,
    feed_forward,
)

# A smoke run trains it with these; no kind of layer is missing.
SMOKE: dict[str, object] = {
    "width": 4,
    "encoder_blocks": (1, 1, 1, 1),
    "middle_blocks": 1,
    "decoder_blocks": (1, 1, 1, 1),
}

# Shape letters: B batch, C channels, H height, W width, D = 2 C.

# (kernel size, stride) of the convolutions of a global context extractor, by their number.
_CASCADES = {2: ((3, 2), (3, 3)), 3: ((3, 2), (3, 3), (5, 4))}


def build(
    *,
    width: Annotated[int, Field(ge=1)] = 60,
    encoder_blocks: tuple[int, int, int, int] = (2, 2, 4, 6),
    middle_blocks: Annotated[int, Field(ge=0)] = 10,
    decoder_blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
    gce_depths: tuple[Literal[2, 3], Literal[2, 3], Literal[2, 3], Literal[2, 3]] = (3, 3, 2, 2),
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5] = 3,
    gce_kernel_size: Literal[3, 5] = 3,
) -> nn.Module:
    """Return a CascadedGaze network.

    y = x + R(x), with the R of `nafnet` in which the blocks on the way down have a global context
    extractor: two or three depthwise convolutions in a row, with strides 2, 3 and 4, whose
    outputs are scaled up to the size of the image and put beside its features. Images must have 49
    pixels on each side with the defaults, and 97 with gce_kernel_size 5.

    Args:
        width: channels at the full size of the image.
        encoder_blocks: number of blocks at each level on the way down, the full size first.
        middle_blocks: number of blocks at a sixteenth of the size.
        decoder_blocks: number of blocks at each level on the way up, an eighth of the size first.
        gce_depths: number of convolutions in the extractors of each level, the full size first.
        channels: channels of the image.
        kernel_size: of the first and the last convolution and of the depthwise one in every
            block, pixels; they keep the size of the image. All others but the extractors' have
            1 x 1, and 2 x 2 where the image is halved.
        gce_kernel_size: of the first and the second convolution of the extractors, pixels; the
            third has 5 x 5 in any case.

    Raises:
        JobError: a number of blocks is negative.
    """
    cascades = [
        tuple((max(size, gce_kernel_size), stride) for size, stride in _CASCADES[depth])
        for depth in gce_depths
    ]
    encoders = [
        blocks(partial(CascadedGazeBlock, width << level, kernel_size, cascade), number)
        for level, (cascade, number) in enumerate(zip(cascades, encoder_blocks, strict=True))
    ]
    needed = [
        smallest_input(cascade) << level
        for level, (cascade, number) in enumerate(zip(cascades, encoder_blocks, strict=True))
        if number
    ]
    return CGNet(
        max(needed, default=1),
        width,
        encoders,
        middle_blocks,
        decoder_blocks,
        channels,
        kernel_size,
    )


def smallest_input(cascade: Sequence[tuple[int, int]]) -> int:
    """Return the smallest side of an image, pixels, that a row of convolutions leaves a pixel of.

    Args:
        cascade: (kernel size, stride) of each; none pads.
    """
    side = 1
    for size, stride in reversed(cascade):
        side = (side - 1) * stride + size
    return side


class CGNet(NAFNet):
    """Maps noisy images (B, C, H, W) that are large enough to denoised ones of the same shape."""

    def __init__(
        self,
        needed_px: int,
        width: int,
        encoders: Sequence[nn.Module],
        middle_blocks: int,
        decoder_blocks: Sequence[int],
        channels: int,
        kernel_size: int,
    ) -> None:
        super().__init__(width, encoders, middle_blocks, decoder_blocks, channels, kernel_size)
        # An image is padded to a multiple before it comes to the first extractor.
        self.smallest_px = (needed_px - 1) // self.multiple * self.multiple + 1

    def forward(self, noisy_BCHW: Tensor) -> Tensor:
        height, width = noisy_BCHW.shape[-2:]
        if min(height, width) < self.smallest_px:
            raise JobError(
                f"models: cgnet: an image has {height} x {width} pixels, but the global context "
                f"extractors need at least {self.smallest_px} x {self.smallest_px}. Use larger "
                "images and crops."
            )
        return super().forward(noisy_BCHW)


class CascadedGazeBlock(nn.Module):
    """y = x + beta * gaze(x), z = y + gamma * feed_forward(y); both factors start at zero.

    gaze: norm, 1 x 1 to 2 C, depthwise, GELU; the sum of its two halves goes through the global
    context extractor, whose outputs are put beside it; channel attention, 1 x 1 back to C.
    """

    def __init__(self, width: int, kernel_size: int, cascade: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        together = (2 + len(cascade)) * width
        self.features = nn.Sequential(
            LayerNorm2d(width),
            nn.Conv2d(width, 2 * width, 1),
            depthwise(2 * width, kernel_size),
            nn.GELU(),
        )
        self.context = GlobalContextExtractor(width, cascade)
        self.fuse = nn.Sequential(ChannelAttention(together), nn.Conv2d(together, width, 1))
        self.feed_forward = feed_forward(width)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        features_BDHW: Tensor = self.features(x_BCHW)
        one_BCHW, other_BCHW = features_BDHW.chunk(2, dim=1)
        context = self.context(one_BCHW + other_BCHW)
        gaze_BCHW: Tensor = self.fuse(torch.cat([features_BDHW, *context], dim=1))
        y_BCHW = x_BCHW + self.beta * gaze_BCHW
        z_BCHW: Tensor = y_BCHW + self.gamma * self.feed_forward(y_BCHW)
        return z_BCHW


class GlobalContextExtractor(nn.Module):
    """Shrinks an image step by step, and returns each step scaled up to the size of the image."""

    def __init__(self, width: int, cascade: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, size, stride, groups=width, bias=False),
                nn.Conv2d(width, width, 1, bias=False),
                nn.GELU(),
            )
            for size, stride in cascade
        )

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Return one tensor (B, C, H, W) per step, the values of the nearest pixels."""
        scaled = []
        shrunk_BCHW = x_BCHW
        for step in self.steps:
            shrunk_BCHW = step(shrunk_BCHW)
            scaled.append(F.interpolate(shrunk_BCHW, size=x_BCHW.shape[-2:], mode="nearest"))
        return scaled
