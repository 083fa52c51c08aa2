"""Places data on the GPU if they fit there, else in the host's memory."""

import torch
from torch import Tensor

SHARE = 0.25
"""Share of the GPU's free memory that data may take; the rest is for training. A quarter of an
A100 with 64 GB holds CIFAR-100 (0.2 GB) and DIV2K (7 GB)."""

_trials = 1
"""That share the GPU of this process."""


def share_gpu(device: torch.device, trials: int) -> None:
    """Take no more than an equal part of a GPU's memory from now on, for tensors and data.

    One trial that needs more ends with its own message, and not its neighbors with theirs.

    Args:
        device: the GPU.
        trials: processes that share it, this one included.
    """
    global _trials
    _trials = trials
    if trials > 1:
        torch.cuda.set_per_process_memory_fraction(1 / trials, device)


def resident(data: Tensor, device: torch.device | str) -> Tensor:
    """Return the data on the device if they fit, else as they are.

    Args:
        data: in the host's memory, possibly mapped from a file.
        device: of the training.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return data
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if data.nbytes <= SHARE * free_bytes / _trials else data
