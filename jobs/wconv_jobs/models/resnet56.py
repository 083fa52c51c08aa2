"""ResNet for small images, of He et al. 2015 (arXiv:1512.03385, section 4.2)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

# A smoke run trains it with these: one block per stage, so that both kinds of shortcut are there.
SMOKE: dict[str, object] = {"depth": 8, "width": 4}

# Shape letters: B batch, C channels, H height, W width.


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    depth: Literal[
        8, 14, 20, 26, 32, 38, 44, 50, 56, 62, 68, 74, 80, 86, 92, 98, 104, 110, 1202
    ] = 56,
    width: Annotated[int, Field(ge=1)] = 16,
    shortcut: Literal["A", "B"] = "A",
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5, 7] = 3,
) -> nn.Module:
    """Return a ResNet that maps images (B, C, H, W) of any size to logits (B, num_classes).

    conv, batch norm, ReLU; three stages of (depth - 2) / 6 blocks with width, 2 width and 4 width
    channels, the first block of the second and the third stage with stride 2; mean over the
    image; linear layer. A block is relu(shortcut(x) + F(x)) with F = conv, batch norm, ReLU, conv,
    batch norm. No convolution has a bias.

    Args:
        num_classes: number of logits.
        depth: number of convolutions and linear layers on the longest path, 6 n + 2.
        width: channels of the first stage.
        shortcut: where a block changes the shape: "A" takes every other pixel and pads with
            channels of zeros, "B" is a 1x1 convolution and a batch norm.
        channels: channels of the image.
        kernel_size: of all convolutions but those of the shortcuts, pixels.
    """
    return ResNet(num_classes, depth, width, channels, kernel_size, projects=shortcut == "B")


class ResNet(nn.Module):
    """Maps images (B, C, H, W) of any size to logits (B, num_classes)."""

    def __init__(
        self,
        num_classes: int,
        depth: int,
        width: int,
        channels: int,
        kernel_size: int,
        *,
        projects: bool,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        in_channels = width
        for out_channels in (width, 2 * width, 4 * width):
            for _ in range((depth - 2) // 6):
                blocks.append(Block(in_channels, out_channels, kernel_size, projects=projects))
                in_channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes)
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(image_BCHW)))
        return logits


class Block(nn.Module):
    """Two convolutions beside a shortcut; has stride 2 when it changes the number of channels."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, projects: bool
    ) -> None:
        super().__init__()
        stride = 1 if in_channels == out_channels else 2
        padding = kernel_size // 2
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size, padding=padding, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module
        if in_channels == out_channels:
            self.shortcut = nn.Identity()
        elif projects:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        else:
            self.shortcut = PaddedSubsampling(out_channels - in_channels)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return functional.relu(self.shortcut(image_BCHW) + self.residual(image_BCHW))


class PaddedSubsampling(nn.Module):
    """Takes every other pixel and adds channels of zeros, half of them before the others."""

    def __init__(self, added_channels: int) -> None:
        super().__init__()
        self.before = added_channels // 2
        self.after = added_channels - self.before

    def forward(self, image_BCHW: Tensor) -> Tensor:
        every_other_BCHW = image_BCHW[:, :, ::2, ::2]
        return functional.pad(every_other_BCHW, (0, 0, 0, 0, self.before, self.after))
