"""MobileNetV2 for small images, of Sandler et al. 2018 (arXiv:1801.04381)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

# A smoke run trains it with these.
SMOKE: dict[str, object] = {"width": 0.25}

# Shape letters: B batch, C channels, H height, W width.

# Per stage: expansion, channels, blocks, stride of the first block. The published network, for
# 224x224 images, has stride 2 in the stem and in the stage of 160 channels as well.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 1),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    width: Annotated[float, Field(gt=0)] = 1.0,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5, 7] = 3,
) -> nn.Module:
    """Return a MobileNetV2 that maps images (B, C, H, W) of any size to logits (B, num_classes).

    1x1 conv whose padding frames the image with one pixel; 17 blocks, three of them with stride
    2; 1x1 conv to 1280 channels; mean over the image; 1x1 conv to the logits. A block expands
    the channels with a 1x1 conv, filters each with a depthwise conv, and reduces them with another
    1x1 conv; its input is added where the shape is the same. Every convolution has a bias and,
    but for that of the logits, a batch norm; a ReLU6 follows, except where channels are reduced.
    This is the variant of 2,369,380 parameters; others have a 3x3 stem and fewer biases.

    Args:
        num_classes: number of logits.
        width: factor on the numbers of channels, which are rounded to multiples of 8; above 1
            also on the 1280 of the head.
        channels: channels of the image.
        kernel_size: of the depthwise convolutions, pixels; there are no others above 1x1.
    """
    return MobileNetV2(num_classes, width, channels, kernel_size)


class MobileNetV2(nn.Module):
    """Maps images (B, C, H, W) of any size to logits (B, num_classes)."""

    def __init__(self, num_classes: int, width: float, channels: int, kernel_size: int) -> None:
        super().__init__()
        in_channels = _scaled(_STEM_CHANNELS, width)
        self.stem = nn.Sequential(
            # Odd for a 1x1 kernel, but a part of this variant.
            nn.Conv2d(channels, in_channels, 1, padding=1),
            nn.BatchNorm2d(in_channels),
            nn.ReLU6(inplace=True),
        )
        blocks: list[nn.Module] = []
        for expansion, stage_channels, count, first_stride in _STAGES:
            out_channels = _scaled(stage_channels, width)
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(Block(in_channels, out_channels, expansion, stride, kernel_size))
                in_channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        head_channels = _scaled(_HEAD_CHANNELS, max(1.0, width))
        self.head = nn.Sequential(
            nn.Conv2d(in_channels, head_channels, 1),
            nn.BatchNorm2d(head_channels),
            nn.ReLU6(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(head_channels, num_classes, 1),
            nn.Flatten(),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(image_BCHW)))
        return logits


class Block(nn.Module):
    """The inverted residual with a linear bottleneck; keeps the shape of the image at stride 1."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel_size: int
    ) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, inner, kernel_size, stride, kernel_size // 2, groups=inner),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, out_channels, 1),
            nn.BatchNorm2d(out_channels),
        )
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, image_BCHW: Tensor) -> Tensor:
        filtered_BCHW: Tensor = self.layers(image_BCHW)
        return image_BCHW + filtered_BCHW if self.adds_input else filtered_BCHW


def _scaled(channels: int, width: float) -> int:
    return max(8, 8 * round(channels * width / 8))
