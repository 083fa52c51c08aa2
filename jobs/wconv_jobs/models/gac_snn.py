"""GAC-SNN, the spiking MS-ResNet-18 with gated attention coding of Qiu et al. 2024.

arXiv:2308.06582; MS-ResNet is arXiv:2112.08954.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

# A smoke run trains it with these; no kind of layer is missing.
SMOKE: dict[str, object] = {"width": 4, "time_steps": 2}

# Shape letters: B batch, C channels, H height, W width, T time steps, N = T * B, time outermost.

# Residual blocks of each stage, and the stride with which the stage starts.
_STAGES = ((3, 1), (3, 2), (2, 2))

_DECAY = 0.5
_THRESHOLD = 1.0


def build(
    *,
    num_classes: Annotated[int, Field(ge=2)] = 100,
    time_steps: Annotated[int, Field(ge=2)] = 4,
    width: Annotated[int, Field(ge=1)] = 64,
    attention: bool = True,
    channels: Annotated[int, Field(ge=1)] = 3,
    kernel_size: Literal[3, 5] = 3,
) -> nn.Module:
    """Return a spiking network that maps images (B, C, H, W) of any size to logits (B, classes).

    The image is shown at every time step. Convolution and batch norm make a current of it, which
    neurons turn into spikes; gates that depend on the image and the time step scale these. Then
    come stages of 3, 3 and 2 residual blocks, neurons, the mean over the image, and a linear
    layer. Logits are the mean over the time steps; batch norms take all time steps together.

    Args:
        num_classes: number of logits.
        time_steps: number of time steps T; time and memory grow with it.
        width: channels of the first convolution; the stages have 2, 4 and 8 times as many.
        attention: false leaves out the gates, and the spikes enter the stages as they are.
        channels: channels of the image.
        kernel_size: of the first convolution and both in every residual block, pixels; they keep
            the size of the image. The gates have 4 x 4, the shortcuts 1 x 1.
    """
    gates = GatedAttention(width, time_steps) if attention else None
    return GACSNN(num_classes, time_steps, width, gates, channels, kernel_size)


class GACSNN(nn.Module):
    """Maps images (B, C, H, W) to logits (B, classes)."""

    def __init__(
        self,
        num_classes: int,
        time_steps: int,
        width: int,
        gates: "GatedAttention | None",
        channels: int,
        kernel_size: int,
    ) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(width),
        )
        self.gates = gates
        blocks: list[ResidualBlock] = []
        for stage, (number, first_stride) in enumerate(_STAGES, 1):
            after = width << stage
            for index in range(number):
                before, stride = (width << (stage - 1), first_stride) if index == 0 else (after, 1)
                blocks.append(ResidualBlock(before, after, stride, time_steps, kernel_size))
        self.blocks = nn.Sequential(*blocks)
        self.neurons = LeakyNeurons(time_steps)
        self.head = nn.Linear(width << len(_STAGES), num_classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        # The image does not change in time: what lies before the first neurons is computed once.
        current_BCHW: Tensor = self.stem(image_BCHW)
        spikes = fire([current_BCHW] * self.time_steps)
        if self.gates is not None:
            gates = self.gates(current_BCHW)
            spikes = [spike * gate for spike, gate in zip(spikes, gates, strict=True)]
        spikes_NCHW: Tensor = self.neurons(self.blocks(torch.cat(spikes)))
        # The mean over time may come before the linear layer.
        rates_TBC = spikes_NCHW.mean((2, 3)).reshape(self.time_steps, len(image_BCHW), -1)
        logits: Tensor = self.head(rates_TBC.mean(0))
        return logits


class GatedAttention(nn.Module):
    """Gates sigmoid(temporal * spatial) of a current that is the same at every time step.

    temporal: mean and maximum of the current at each time step, each through one perceptron
    T -> T/2 -> T, summed; a number per sample and time step. spatial: two convolutions of 4 x 4
    with a ReLU between; a number per sample, channel and pixel. Nothing has a bias.
    """

    def __init__(self, width: int, time_steps: int) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.temporal = nn.Sequential(
            nn.Linear(time_steps, time_steps // 2, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(time_steps // 2, time_steps, bias=False),
        )
        # The margins of padding="same", which warns for even kernels.
        self.spatial = nn.Sequential(
            nn.ZeroPad2d((1, 2, 1, 2)),
            nn.Conv2d(width, width, 4, bias=False),
            nn.ReLU(inplace=True),
            nn.ZeroPad2d((1, 2, 1, 2)),
            nn.Conv2d(width, width, 4, bias=False),
        )

    def forward(self, current_BCHW: Tensor) -> list[Tensor]:
        """Return the gates (B, C, H, W) of each time step."""
        mean_BT = current_BCHW.mean((1, 2, 3))[:, None].expand(-1, self.time_steps)
        maximum_BT = current_BCHW.amax((1, 2, 3))[:, None].expand(-1, self.time_steps)
        temporal_BT: Tensor = self.temporal(mean_BT) + self.temporal(maximum_BT)
        spatial_BCHW: Tensor = self.spatial(current_BCHW)
        return [
            torch.sigmoid(factor_B[:, None, None, None] * spatial_BCHW)
            for factor_B in temporal_BT.unbind(1)
        ]


class ResidualBlock(nn.Module):
    """y = norm(conv(neurons(norm(conv(neurons(x)))))) + shortcut(x), all (N, C, H, W)."""

    def __init__(
        self, before: int, after: int, stride: int, time_steps: int, kernel_size: int
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.residual = nn.Sequential(
            LeakyNeurons(time_steps),
            nn.Conv2d(before, after, kernel_size, stride, padding, bias=False),
            nn.BatchNorm2d(after),
            LeakyNeurons(time_steps),
            nn.Conv2d(after, after, kernel_size, padding=padding, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW: Tensor = self.residual(x_NCHW) + self.shortcut(x_NCHW)
        return y_NCHW


class LeakyNeurons(nn.Module):
    """Turns currents (N, C, H, W) into spikes of the same shape, see `fire`."""

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        self.time_steps = time_steps

    def forward(self, current_NCHW: Tensor) -> Tensor:
        # Four dimensions all along, which keeps the memory format channels_last.
        return torch.cat(fire(current_NCHW.chunk(self.time_steps)))


def fire(currents: Sequence[Tensor]) -> list[Tensor]:
    """Return the spikes, 0 or 1, of leaky integrate-and-fire neurons, one tensor per time step.

    v <- 0.5 v + current;  s = 1 where v >= 1, else 0;  v <- v (1 - s);  v = 0 at the start.

    The step has the surrogate derivative ds/dv = max(0, 1 - |v - 1|); it also counts where the
    spike resets the potential v.
    """
    potential = torch.zeros_like(currents[0])
    spikes = []
    for current in currents:
        potential = _DECAY * potential + current
        spike: Tensor = _Step.apply(potential)  # type: ignore[no-untyped-call]
        potential = potential * (1 - spike)
        spikes.append(spike)
    return spikes


class _Step(torch.autograd.Function):
    """The spikes of a potential, with the derivative that `fire` states."""

    # With a context of its own and not in `forward`, as torch.func.vmap demands.
    generate_vmap_rule = True

    @staticmethod
    def forward(potential: Tensor) -> Tensor:
        return (potential >= _THRESHOLD).to(potential.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_spike: Tensor) -> Tensor:
        potential: Tensor = ctx.saved_tensors[0]
        return grad_spike * (1 - (potential - _THRESHOLD).abs()).clamp(min=0)
