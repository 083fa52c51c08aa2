"""LeNet-5 with ReLUs and max pooling, after LeCun et al. 1998 (doi:10.1109/5.726791)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from wconv_jobs.errors import JobError

# The network is small enough for a smoke run as it is.
SMOKE: dict[str, object] = {}

# Shape letters: B batch, C channels, H height, W width.

_MIN_SIZE_PX = 16


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[5] = 5,
) -> nn.Module:
    """Return a LeNet that maps images (B, C, H, W) to logits (B, num_classes).

    2 x [conv without padding, ReLU, max pooling by 2] with 6 and 16 channels; mean over 5x5 parts
    of the image, which are the pixels themselves for a 32x32 image; linear layers to 120, 84 and
    num_classes with ReLUs between them. H and W must be at least 16.

    Args:
        num_classes: number of logits.
        channels: channels of the image.
        kernel_size: of both convolutions, pixels; a study of another size is refused at once.
    """
    return LeNet(num_classes, channels, kernel_size)


class LeNet(nn.Module):
    """Maps images (B, C, H, W), H and W at least 16, to logits (B, num_classes)."""

    def __init__(self, num_classes: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, kernel_size),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(5),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, num_classes),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height_px, width_px = image_BCHW.shape[-2:]
        if min(height_px, width_px) < _MIN_SIZE_PX:
            raise JobError(
                f"model 'lenet' has convolutions without padding, and nothing would remain of an "
                f"image of {height_px}x{width_px} pixels. Use images of at least "
                f"{_MIN_SIZE_PX}x{_MIN_SIZE_PX}, or another model."
            )
        logits: Tensor = self.head(self.features(image_BCHW))
        return logits
