"""EfficientNet-B0 for small images, of Tan and Le 2019 (arXiv:1905.11946)."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

# A smoke run trains it with these.
SMOKE: dict[str, object] = {"width": 0.1}

# Shape letters: B batch, C channels, H height, W width.

# Per stage: kernel size, expansion, channels, blocks, stride of the first block. The stem of the
# published network, for 224x224 images, has stride 2 as well.
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
_STEM_CHANNELS = 32


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    width: Annotated[float, Field(gt=0)] = 1.0,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    channels: Annotated[int, Field(ge=1)] = 3,
) -> nn.Module:
    """Return an EfficientNet-B0 that maps images (B, C, H, W) of any size to logits (B, classes).

    3x3 conv with stride 1; 16 blocks, four of them with stride 2; mean over the image; dropout;
    linear layer. A block expands the channels with a 1x1 conv, filters each with a depthwise
    conv, scales each with a squeeze-and-excitation gate, and reduces them with another 1x1 conv;
    its input is added where the shape is the same. Batch norms and x * sigmoid(x) as activation.

    This is the variant of 3,628,576 parameters without a layer of 1280 channels before the logits
    and without stochastic depth. 1,088 of its parameters belong to no path and are never trained:
    the first block does not expand. A density of kernel size 3 acts on the stem and 7 of the
    depthwise convolutions, one of size 5 on the other 9.

    Args:
        num_classes: number of logits.
        width: factor on the numbers of channels, which are rounded to multiples of 8.
        dropout: probability with which an input of the linear layer is dropped in training.
        channels: channels of the image.
    """
    return EfficientNet(num_classes, width, dropout, channels)


class EfficientNet(nn.Module):
    """Maps images (B, C, H, W) of any size to logits (B, num_classes)."""

    def __init__(self, num_classes: int, width: float, dropout: float, channels: int) -> None:
        super().__init__()
        in_channels = _scaled(_STEM_CHANNELS, width)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, in_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.SiLU(),
        )
        # Belongs to no path, but to the published number of parameters.
        self.unused_expansion = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 1, bias=False), nn.BatchNorm2d(in_channels)
        )
        # DistributedDataParallel waits for the gradient of every parameter, except those that the
        # model names in this attribute. It is the only way to tell it that needs no argument where
        # the model is wrapped and, unlike adding 0 * weight to the logits, leaves the gradients
        # and the arithmetic alone. Ranks start with equal weights, and these never change.
        self._ddp_params_and_buffers_to_ignore = [
            f"unused_expansion.{name}" for name, _ in self.unused_expansion.named_parameters()
        ]
        blocks: list[nn.Module] = []
        for kernel_size, expansion, stage_channels, count, first_stride in _STAGES:
            out_channels = _scaled(stage_channels, width)
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(Block(in_channels, out_channels, expansion, stride, kernel_size))
                in_channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(in_channels, num_classes),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(image_BCHW)))
        return logits


class Block(nn.Module):
    """The inverted residual with a gate; keeps the shape of the image at stride 1."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel_size: int
    ) -> None:
        super().__init__()
        inner = expansion * in_channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [
                nn.Conv2d(in_channels, inner, 1, bias=False),
                nn.BatchNorm2d(inner),
                nn.SiLU(),
            ]
        padding = kernel_size // 2
        layers += [
            nn.Conv2d(inner, inner, kernel_size, stride, padding, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.SiLU(),
            Gate(inner, in_channels // 4),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.layers = nn.Sequential(*layers)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, image_BCHW: Tensor) -> Tensor:
        filtered_BCHW: Tensor = self.layers(image_BCHW)
        return image_BCHW + filtered_BCHW if self.adds_input else filtered_BCHW


class Gate(nn.Module):
    """Squeeze and excitation (arXiv:1709.01507): scales each channel by a number in (0, 1)."""

    def __init__(self, channels: int, squeezed_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed_channels, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed_channels, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        scale_BC11: Tensor = self.layers(image_BCHW)
        return image_BCHW * scale_BC11


def _scaled(channels: int, width: float) -> int:
    return max(8, 8 * round(channels * width / 8))
