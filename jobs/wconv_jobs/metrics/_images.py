"""Batches of images, compared image by image in float64."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from wconv_jobs.errors import JobError

# Shape letters: B batch, C channels, N planes of a batch (B x C of them), H height, W width.


def require_images(output_BCHW: Tensor, target_BCHW: Tensor) -> None:
    """Check that output and target are batches of images of the same shape.

    Raises:
        JobError: they are not.
    """
    if output_BCHW.shape != target_BCHW.shape or output_BCHW.ndim != 4:
        raise JobError(
            "images are compared when both have the same shape (B, C, H, W), but the output has "
            f"{tuple(output_BCHW.shape)} and the target {tuple(target_BCHW.shape)}. Use a model "
            "that returns images, with as many channels as the data set."
        )


def require_size(metric: str, image_BCHW: Tensor, least_px: int) -> None:
    """Check that a metric's window fits into the images.

    Raises:
        JobError: the images are lower or narrower than `least_px`.
    """
    height, width = image_BCHW.shape[-2:]
    if min(height, width) < least_px:
        raise JobError(
            f"{metric} needs images of at least {least_px} x {least_px} pixels, but these have "
            f"{height} x {width}. Use larger images, or leave out {metric}."
        )


def mse(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Return the mean squared error of each image over its channels and pixels, shape (B,).

    Raises:
        JobError: output and target are not batches of images of the same shape.
    """
    require_images(output_BCHW, target_BCHW)
    difference_BCHW = output_BCHW.to(torch.float64) - target_BCHW.to(torch.float64)
    return difference_BCHW.square().mean(dim=(1, 2, 3))


def float64_pieces(output: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pieces of two batches in float64, cut along the first dimension at the same places.

    A metric can hold some dozens of maps of a piece, however large the batch or the images are.
    """
    length = max(1, _PIECE_VALUES // max(1, output.shape[1:].numel()))
    for pair in zip(torch.split(output, length), torch.split(target, length), strict=True):
        yield pair[0].to(torch.float64), pair[1].to(torch.float64)


def mean_over_channels(
    values: Callable[[Tensor, Tensor], Tensor], output_BCHW: Tensor, target_BCHW: Tensor
) -> Tensor:
    """Return the mean over the channels of a value of each plane, shape (B,).

    Args:
        values: takes planes of output and target, float64, shape (N, H, W); returns shape (N,).
        output_BCHW: output.
        target_BCHW: target, of the same shape.
    """
    pieces = float64_pieces(output_BCHW.flatten(0, 1), target_BCHW.flatten(0, 1))
    value_N = torch.cat([values(output_NHW, target_NHW) for output_NHW, target_NHW in pieces])
    return value_N.view(output_BCHW.shape[:2]).mean(dim=1)


# 32 MiB per map, one plane of 2040 x 1400 pixels at a time; on a GPU enough to keep it busy.
_PIECE_VALUES = 2**22
