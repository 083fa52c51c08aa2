"""VGG for small images, of Simonyan and Zisserman 2014 (arXiv:1409.1556, table 1)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from wconv_jobs.errors import JobError

# A smoke run trains it with these; hidden layers of 4096 units would take most of its time.
SMOKE: dict[str, object] = {"depth": 11, "width": 4, "head": 512}

# Shape letters: B batch, C channels, H height, W width.

_CONVOLUTIONS_PER_STAGE = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
# The width of a stage in units of the first stage's.
_STAGE_WIDTHS = (1, 2, 4, 8, 8)
_MIN_SIZE_PX = 2 ** len(_STAGE_WIDTHS)


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    depth: Literal[11, 13, 16, 19] = 16,
    width: Annotated[int, Field(ge=1)] = 64,
    batch_norm: bool = True,
    head: Literal[4096, 512, "linear"] = 4096,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5, 7] = 3,
) -> nn.Module:
    """Return a VGG that maps images (B, C, H, W) to logits (B, num_classes).

    Five stages of [conv, batch norm, ReLU] that end with max pooling by 2, with width, 2 width,
    4 width, 8 width and 8 width channels; mean over the image, of which a 32x32 image has one
    pixel left; 2 x [linear layer, ReLU, dropout]; linear layer. Every convolution has a bias, with
    batch norm as well. H and W must be at least 32.

    Args:
        num_classes: number of logits.
        depth: number of convolutions plus 3, whatever the head.
        width: channels of the first stage.
        batch_norm: false leaves out the batch norms.
        head: units of each of the two hidden linear layers; "linear" leaves them out, with their
            dropout.
        dropout: probability with which a hidden unit is dropped in training.
        channels: channels of the image.
        kernel_size: of every convolution, pixels.
    """
    hidden = None if head == "linear" else head
    return VGG(
        num_classes, depth, width, hidden, dropout, channels, kernel_size, batch_norm=batch_norm
    )


class VGG(nn.Module):
    """Maps images (B, C, H, W), H and W at least 32, to logits (B, num_classes)."""

    def __init__(
        self,
        num_classes: int,
        depth: int,
        width: int,
        hidden: int | None,
        dropout: float,
        channels: int,
        kernel_size: int,
        *,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = channels
        for convolutions, factor in zip(
            _CONVOLUTIONS_PER_STAGE[depth], _STAGE_WIDTHS, strict=True
        ):
            out_channels = factor * width
            for _ in range(convolutions):
                layers.append(
                    nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
                )
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out_channels))
                layers.append(nn.ReLU(inplace=True))
                in_channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

        layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        in_features = in_channels
        if hidden is not None:
            for _ in range(2):
                layers += [
                    nn.Linear(in_features, hidden),
                    nn.ReLU(inplace=True),
                    nn.Dropout(dropout),
                ]
                in_features = hidden
        self.head = nn.Sequential(*layers, nn.Linear(in_features, num_classes))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height_px, width_px = image_BCHW.shape[-2:]
        if min(height_px, width_px) < _MIN_SIZE_PX:
            raise JobError(
                f"model 'vgg16' halves the image five times, and nothing would remain of one of "
                f"{height_px}x{width_px} pixels. Use images of at least "
                f"{_MIN_SIZE_PX}x{_MIN_SIZE_PX}, or another model."
            )
        logits: Tensor = self.head(self.features(image_BCHW))
        return logits
