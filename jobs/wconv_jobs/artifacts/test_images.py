"""The first test images before and after a network, for people."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wconv_jobs.artifacts.before_after import BeforeAfter
from wconv_jobs.memory_format import arranged
from wconv_jobs.metrics import build_metric
from wconv_jobs.spec import MemoryFormat
from wconv_jobs.tasks.task import Task

# Shape letters: B batch, C channels, H height, W width.


class FirstImages:
    """Takes the first test images out of what a network is shown, before and after it.

    There are none if the input is not an estimate of the target, as in classification, and if the
    targets are not gray or RGB images.
    """

    def __init__(self, task: Task, images: int) -> None:
        """
        Args:
            task: the data.
            images: how many at most.
        """
        names = list(task.names("test"))[:images] if task.input_is_estimate else []
        self.names = [str(name) for name in names]
        """Of the images that are wanted."""
        self.found: list[BeforeAfter] = []

    def take(self, inputs_BCHW: Tensor, outputs_BCHW: Tensor, targets_BCHW: Tensor) -> None:
        """Take what is wanted from the next batch of test images."""
        if len(self.found) == len(self.names):
            # A user's data may give more images than requested, and name them by number.
            return
        if targets_BCHW.ndim != 4 or targets_BCHW.shape[1] not in (1, 3):
            self.names, self.found = [], []
            return
        left = self.names[len(self.found) :]
        for name, *each in zip(left, inputs_BCHW, outputs_BCHW, targets_BCHW, strict=False):
            self.found.append(_before_after(name, *each))


def restored(
    model: nn.Module,
    task: Task,
    images: int,
    on_batch: Callable[[], None] = lambda: None,
    memory_format: MemoryFormat = "contiguous",
) -> list[BeforeAfter]:
    """Return the first test images before and after the network, see `FirstImages`.

    Args:
        model: is put into evaluation mode.
        task: the data.
        images: how many at most.
        on_batch: called before each batch of images; what it raises ends the work.
        memory_format: order of the model's weights and of the images that it gets.
    """
    first = FirstImages(task, images)
    if not first.names:
        return []
    dtype = next(model.parameters()).dtype
    model.eval()
    with torch.no_grad():  # as in an evaluation
        for inputs_BCHW, targets_BCHW in task.evaluation_batches("test", range(len(first.names))):
            on_batch()
            outputs_BCHW = model(arranged(inputs_BCHW.to(dtype), memory_format))
            first.take(inputs_BCHW, outputs_BCHW, targets_BCHW)
    return first.found


def _before_after(
    name: str, input_CHW: Tensor, output_CHW: Tensor, target_CHW: Tensor
) -> BeforeAfter:
    return BeforeAfter(
        name,
        _psnr_db(input_CHW, target_CHW),
        _psnr_db(output_CHW, target_CHW),
        *(_bytes(image_CHW) for image_CHW in (input_CHW, output_CHW, target_CHW)),
    )


def _psnr_db(image_CHW: Tensor, target_CHW: Tensor) -> float:
    metric = build_metric("psnr_db")
    metric.update(image_CHW[None], target_CHW[None])
    return metric.compute(metric.state())


def _bytes(image_CHW: Tensor) -> NDArray[np.uint8]:
    unit_CHW = image_CHW.float().nan_to_num(0.0).clamp(0, 1)
    pixel_HWC: NDArray[np.uint8] = (
        (unit_CHW * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    )
    return pixel_HWC
