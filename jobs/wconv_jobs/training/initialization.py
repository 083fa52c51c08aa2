"""Initial weights: a pure function of (scheme, seed, layer name), the same for every density.

Each layer is drawn from its own seed, on the CPU and in float32, and then copied to the layer's
device and dtype. Weights therefore depend neither on other layers nor on the device, a float64
model starts from the float32 model's values, and the global random state stays untouched.
"""

import math
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import nn

from wconv_jobs.seeding import derive_seed, drawing_from
from wconv_kernels.copies import copied

Scheme = Literal["pytorch", "kaiming", "paper"]


@runtime_checkable
class ResidualDenoiser(Protocol):
    """A model that returns its input minus, or plus, what it computes."""

    @property
    def residual_output(self) -> nn.Module:
        """The last layer, whose output is subtracted from the input, or added to it."""


@torch.no_grad()
def initialize(model: nn.Module, scheme: Scheme, seed: int) -> None:
    """Redraw all weights of a model, in place.

    * "pytorch": every layer's own `reset_parameters`.
    * "kaiming": convolutions W ~ N(0, 2 / fan_out) with fan_out = k^d * out_channels / groups,
      and zero biases (He et al. 2015, arXiv:1502.01852, eq. 14); the `residual_output` of a
      `ResidualDenoiser` is zero, so that the network starts as the identity. Drawn like the
      others, a last layer of 64 -> 3 channels would start at some hundred times the loss of
      returning the noisy image.
    * "paper": convolutions W ~ N(0, 2 / fan_out) with fan_out = k^d * out_channels whatever the
      groups, as `torch.nn.init.kaiming_normal_` computes it, and zero biases; the last layer is
      no exception. The weighted convolution of arXiv:2505.24558 starts like this.

    Convolutions are nn.Conv1d, nn.Conv2d and nn.Conv3d. All other layers keep PyTorch's default
    under every scheme, nn.Linear as well: no density acts on it, and with its small weights a
    classifier starts near the uniform distribution over its classes. Parameters that belong to no
    layer with a `reset_parameters` keep the value that the model's builder gave them.
    """
    for name, layer in model.named_modules():
        if not callable(getattr(layer, "reset_parameters", None)):
            continue
        layer_seed = derive_seed(seed, "init", name)
        if scheme != "pytorch" and isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            groups = layer.groups if scheme == "kaiming" else 1
            _draw_kaiming(layer, groups, layer_seed)
        else:
            _draw_default(layer, layer_seed)
    if scheme == "kaiming" and isinstance(model, ResidualDenoiser):
        for parameter in model.residual_output.parameters():
            parameter.zero_()


def _draw_kaiming(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, groups: int, seed: int) -> None:
    fan_out = layer.weight.shape[0] * math.prod(layer.kernel_size) // groups
    drawn = torch.empty(layer.weight.shape, dtype=torch.float32)
    drawn.normal_(0.0, math.sqrt(2.0 / fan_out), generator=torch.Generator().manual_seed(seed))
    layer.weight.copy_(drawn)
    if layer.bias is not None:
        layer.bias.zero_()


def _draw_default(layer: nn.Module, seed: int) -> None:
    drawn = copied(layer).to("cpu", torch.float32)
    with drawing_from(seed):
        drawn.reset_parameters()  # type: ignore[operator]
    for kind in (nn.Module.named_parameters, nn.Module.named_buffers):
        values = dict(kind(drawn, recurse=False))
        for name, tensor in kind(layer, recurse=False):
            tensor.copy_(values[name])
