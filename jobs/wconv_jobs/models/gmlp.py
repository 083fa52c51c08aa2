"""gMLP, the image classifier of linear layers and spatial gates of Liu et al. 2021.

arXiv:2105.08050. The published network cuts the image into patches and has no odd kernel; a
convolution of 3 x 3 pixels in their place gives the density one layer to act on.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from wconv_jobs.errors import JobError

# A smoke run trains it with these; no kind of layer is missing.
SMOKE: dict[str, object] = {"width": 16, "ffn_width": 32, "depth": 2}

# Shape letters: B batch, C channels, H height, W width, N tokens, D width, F width of the gate.


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    image_px: Annotated[int, Field(ge=2)] = 32,
    width: Annotated[int, Field(ge=1)] = 256,
    ffn_width: Annotated[int, Field(ge=1)] = 512,
    depth: Annotated[int, Field(ge=1)] = 6,
    stem: Literal["3x3", "2x2", "4x4"] = "3x3",
    kernel_size: Literal[3] = 3,
    channels: Annotated[int, Field(ge=1)] = 3,
) -> nn.Module:
    """Return a network that maps square images (B, C, image_px, image_px) to logits (B, classes).

    A convolution makes tokens of the image, `depth` blocks mix their features and, through the
    gates, the tokens among each other, and the mean of the tokens goes through a linear layer.

    Args:
        num_classes: number of logits.
        image_px: side of the images, pixels; it fixes the number of tokens and with it the size of
            the gates, so that images of another size are refused. A multiple of the patch.
        width: features of a token between the blocks (d_model).
        ffn_width: features of a token in the gate (d_ffn).
        depth: number of blocks.
        stem: "3x3" takes overlapping neighborhoods at every second pixel; "2x2" and "4x4" are
            the patches of the published network, on which no density acts.
        kernel_size: of the stem "3x3", the only convolution that a density can act on, pixels.
        channels: channels of the image.

    Raises:
        JobError: the patches do not tile the image.
    """
    if stem == "3x3":
        # The halved grid of the 2x2 patches: as many tokens, and blocks of the same size.
        side = (image_px + 1) // 2
        tokenize = nn.Conv2d(channels, width, kernel_size, stride=2, padding=kernel_size // 2)
    else:
        patch = int(stem[0])
        side = image_px // patch
        if side * patch != image_px:
            raise JobError(
                f"models: gmlp: option 'image_px' is {image_px}, but the patches of stem "
                f"{stem!r} need a multiple of {patch}. Change 'image_px'."
            )
        tokenize = nn.Conv2d(channels, width, patch, stride=patch)
    blocks = [Block(width, ffn_width, tokens=side**2) for _ in range(depth)]
    return GMLP(image_px, tokenize, blocks, nn.Linear(width, num_classes))


class GMLP(nn.Module):
    """Maps images (B, C, image_px, image_px) to logits (B, classes)."""

    def __init__(
        self, image_px: int, stem: nn.Conv2d, blocks: list["Block"], head: nn.Linear
    ) -> None:
        super().__init__()
        self.image_px = image_px
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = head

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height, width = image_BCHW.shape[-2:]
        if (height, width) != (self.image_px, self.image_px):
            raise JobError(
                f"models: gmlp: an image has {height} x {width} pixels, but the network has one "
                f"weight for each pair of tokens of an image of {self.image_px} x "
                f"{self.image_px}. Set its option 'image_px' to the side of the images, which "
                "must be square."
            )
        tokens_BND = self.stem(image_BCHW).flatten(2).transpose(1, 2)
        tokens_BND = self.blocks(tokens_BND)
        logits: Tensor = self.head(tokens_BND.mean(1))
        return logits


class Block(nn.Module):
    """y = x + P(gate(GELU(E(norm(x))))), with linear layers E: D -> 2 F and P: F -> D."""

    def __init__(self, width: int, ffn_width: int, tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * ffn_width)
        self.activation = nn.GELU()
        self.gate = SpatialGate(ffn_width, tokens)
        self.project = nn.Linear(ffn_width, width)

    def forward(self, x_BND: Tensor) -> Tensor:
        update_BND: Tensor = self.project(
            self.gate(self.activation(self.expand(self.norm(x_BND))))
        )
        return x_BND + update_BND


class SpatialGate(nn.Module):
    """Multiplies one half of the features by a projection of the other half over the tokens."""

    def __init__(self, ffn_width: int, tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(ffn_width)
        self.projection = SpatialProjection(tokens)

    def forward(self, x_BN2F: Tensor) -> Tensor:
        kept_BNF, gating_BNF = x_BN2F.chunk(2, dim=-1)
        factor_BNF: Tensor = self.projection(self.norm(gating_BNF))
        return kept_BNF * factor_BNF


class SpatialProjection(nn.Module):
    """y[n] = sum over tokens m of weight[n, m] x[m] + bias[n], the same for every feature.

    A module of its own and no nn.Conv1d with kernel size 1, which it equals: the gates must start
    near one (arXiv:2105.08050, section 2.1), and initial weights for convolutions would undo that.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, tokens))
        self.bias = nn.Parameter(torch.empty(tokens))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from U(-1e-3 / tokens, 1e-3 / tokens) and set the biases to one."""
        bound = 1e-3 / len(self.bias)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.ones_(self.bias)

    def forward(self, x_BNF: Tensor) -> Tensor:
        # 0.8 of the time of a matmul and a sum, forward and backward, 32 x 256 x 512 on a CPU.
        weight_BNN = self.weight.expand(x_BNF.shape[0], -1, -1)
        return torch.baddbmm(self.bias[:, None], weight_BNN, x_BNF)
