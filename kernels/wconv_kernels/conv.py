"""The weighted convolution as a layer: nn.Conv1d/2d/3d with a density.

Cammarasana and Patane 2025, arXiv:2505.24558.
"""

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from wconv_kernels.density import (
    DensityLike,
    check_length,
    check_square_odd,
    density_values,
    outer_kernel,
)
from wconv_kernels.errors import DensityError

Ints = int | tuple[int, ...]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class WeightedConv(nn.Module):
    """Shared code of the three weighted convolutions; mixed into nn.Conv1d, 2d and 3d.

    y = conv(x, W * Phi) + b,  Phi = alpha (x) ... (x) alpha,  alpha = (d_1..d_n, 1, d_n..d_1)
    (Cammarasana and Patane 2025, arXiv:2505.24558).

    All arguments of the stock convolution have their meaning and default; `density` comes on top.
    Shapes are those of the stock convolution.

    Args:
        density: coefficients d_1..d_n for kernel_size = 2n + 1, outermost first; one number for
            kernel_size 3. Numbers or a tensor make a fixed density, kept in the buffers `density`
            and `phi`. An `nn.Parameter` of shape (n,) makes a trainable one, kept as the parameter
            `density`; layers that are given the same `nn.Parameter` share it.

    The weight starts Kaiming normal for ReLU, fan out, the fan counted per group, whatever the
    density; the bias starts at zero.

    Raises:
        DensityError: an even, non-square or 1x1 kernel, or a density that does not fit it.
    """

    _ndim: ClassVar[int]
    _convolve: ClassVar[Callable[..., Tensor]]

    weight: Tensor
    bias: Tensor | None
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: PaddingMode
    density: Tensor
    phi: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: str | Ints = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: DensityLike,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.set_density(density)

    def set_density(self, density: DensityLike) -> None:
        """Give the layer another density and keep its weights.

        A fixed density is rounded to the dtype of the weight.

        Raises:
            DensityError: it does not fit the kernel.
        """
        size = check_square_odd(self.kernel_size)
        values: tuple[float, ...] = ()
        if isinstance(density, nn.Parameter) and density.is_meta:
            check_length(density.numel(), size)  # on the meta device there are no values
        else:
            values = density_values(density, size)
        if isinstance(density, nn.Parameter) and density.dim() != 1:
            raise DensityError("a trainable density has shape (n,), but got a scalar parameter")
        for name in ("density", "phi"):
            if hasattr(self, name):
                delattr(self, name)
        if isinstance(density, nn.Parameter):
            self.density = density
            self.register_buffer("phi", None)
        else:
            density_N = torch.tensor(values, dtype=self.weight.dtype, device=self.weight.device)
            self.register_buffer("density", density_N)
            # Phi is saved beside the density: a layer that was cast after it was built resumes
            # with the very Phi it was trained with.
            self.register_buffer("phi", outer_kernel(density_N, self._ndim))

    def effective_weight(self) -> Tensor:
        """Return V = W * Phi, with which a stock convolution gives the same output."""
        phi = self.phi if self.phi is not None else outer_kernel(self.density, self._ndim)
        return self.weight * phi

    def reset_parameters(self) -> None:
        """Draw the weight Kaiming normal with the fan of one group, and zero the bias."""
        fan_out = self.out_channels // self.groups * math.prod(self.kernel_size)
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / fan_out))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return conv(input, W * Phi) + b."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = functional.pad(input, self._pads(), mode=self.padding_mode)
            padding = (0,) * self._ndim
        return type(self)._convolve(
            input,
            self.effective_weight(),
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
        )

    def extra_repr(self) -> str:
        stock = super().extra_repr()
        if self.density.is_meta:
            return f"{stock}, density on the meta device"
        kind = "trainable density" if self.phi is None else "density"
        return f"{stock}, {kind}={tuple(self.density.tolist())}"

    def _pads(self) -> list[int]:
        """Padding before and after each axis, last axis first, as functional.pad wants it."""
        if self.padding == "valid":
            widths: tuple[int, ...] = (0,) * self._ndim
        elif isinstance(self.padding, str):  # "same"; both sides are equal, since sizes are odd
            pairs = zip(self.kernel_size, self.dilation, strict=True)
            widths = tuple((size - 1) * dilation // 2 for size, dilation in pairs)
        else:
            widths = self.padding
        return [width for width in reversed(widths) for _ in range(2)]


class WeightedConv1d(WeightedConv, nn.Conv1d):
    """nn.Conv1d with a density; see `WeightedConv`. Input (B, C, L) or (C, L)."""

    _ndim = 1
    _convolve = staticmethod(functional.conv1d)


class WeightedConv2d(WeightedConv, nn.Conv2d):
    """nn.Conv2d with a density; see `WeightedConv`. Input (B, C, H, W) or (C, H, W)."""

    _ndim = 2
    _convolve = staticmethod(functional.conv2d)


class WeightedConv3d(WeightedConv, nn.Conv3d):
    """nn.Conv3d with a density; see `WeightedConv`. Input (B, C, D, H, W) or (C, D, H, W)."""

    _ndim = 3
    _convolve = staticmethod(functional.conv3d)
