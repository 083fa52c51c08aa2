"""DnCNN, the residual denoiser of Zhang et al. 2017 (arXiv:1608.03981)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

# A smoke run trains it with these.
SMOKE: dict[str, object] = {"depth": 4, "width": 8}

# Shape letters: B batch, C channels, H height, W width.


def build(
    *,
    depth: Annotated[int, Field(ge=2)] = 17,
    width: Annotated[int, Field(ge=1)] = 64,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5, 7, 9, 11] = 3,
    norm: Literal["batch", "none"] = "batch",
) -> nn.Module:
    """Return a DnCNN.

    y = x - R(x), with R = conv, ReLU, (depth - 2) x [conv, batch norm, ReLU], conv; every
    convolution has a bias and keeps the size of the image.

    Args:
        depth: number of convolutions; the authors take 17 for gray images of known noise, 20 for
            color.
        width: channels between the convolutions.
        channels: channels of the image.
        kernel_size: of every convolution, pixels.
        norm: "none" leaves out the batch norms.
    """
    return DnCNN(depth, width, channels, kernel_size, batch_norm=norm == "batch")


class DnCNN(nn.Module):
    """Maps noisy images (B, C, H, W) of any size to denoised ones of the same shape."""

    def __init__(
        self, depth: int, width: int, channels: int, kernel_size: int, *, batch_norm: bool
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, kernel_size, padding=padding),
            nn.ReLU(inplace=True),
        ]
        for _ in range(depth - 2):
            layers.append(nn.Conv2d(width, width, kernel_size, padding=padding))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.Conv2d(width, channels, kernel_size, padding=padding))
        self.layers = nn.Sequential(*layers)

    @property
    def residual_output(self) -> nn.Module:
        """The last convolution, whose output is subtracted from the input."""
        return self.layers[-1]

    def forward(self, noisy_BCHW: Tensor) -> Tensor:
        residual_BCHW: Tensor = self.layers(noisy_BCHW)
        return noisy_BCHW - residual_BCHW
