"""The mean squared error of each image of a batch, exact in float64."""

import torch
from torch import Tensor

from wconv_jobs.errors import JobError

# Shape letters: B batch, C channels, H height, W width.


def mse(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Return the mean squared error of each image over its channels and pixels, shape (B,).

    Raises:
        JobError: output and target are not batches of images of the same shape.
    """
    if output_BCHW.shape != target_BCHW.shape or output_BCHW.ndim != 4:
        raise JobError(
            "images are compared when both have the same shape (B, C, H, W), but the output has "
            f"{tuple(output_BCHW.shape)} and the target {tuple(target_BCHW.shape)}. Use a model "
            "that returns images, with as many channels as the data set."
        )
    difference_BCHW = output_BCHW.to(torch.float64) - target_BCHW.to(torch.float64)
    return difference_BCHW.square().mean(dim=(1, 2, 3))
