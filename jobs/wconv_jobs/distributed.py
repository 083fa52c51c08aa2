"""The ranks of one trial as one group: who I am, and what all of us agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wconv_jobs.errors import JobError


@dataclass(frozen=True)
class World:
    """Place of this process among the ranks of its trial; a lone process is rank 0 of 1."""

    rank: int
    size: int
    device: torch.device

    def share(self, batch: int, step: int) -> range:
        """Return this rank's sample numbers in optimizer step `step` of an epoch.

        Args:
            batch: samples per step over all ranks, a multiple of `size`.
            step: 0-based within the epoch.
        """
        part = batch // self.size
        start = step * batch + self.rank * part
        return range(start, start + part)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over the ranks, the same on each of them."""
        total = values.to(self.device, copy=True)
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def from_rank_0(self, number: int) -> int:
        """Return rank 0's `number` on every rank."""
        if self.size == 1:
            return number
        shared = torch.tensor(number, device=self.device)
        dist.broadcast(shared, src=0)
        return int(shared.item())

    def equalise_buffers(self, model: nn.Module) -> None:
        """Give every rank the buffers of rank 0.

        Each rank's BatchNorm follows its own share of the batch, and DistributedDataParallel
        broadcasts the buffers only before a training step: without this, validation after the last
        step of an epoch would score a different network on each rank.
        """
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


@contextmanager
def world_of_ranks() -> Iterator[World]:
    """Join the process group that the environment describes, and leave it at an orderly end.

    Raises:
        JobError: this machine has fewer GPUs than the trial has ranks.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = _device(int(os.environ["LOCAL_RANK"]))
    if size == 1:
        yield World(rank=0, size=1, device=device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield World(rank=rank, size=size, device=device)
    # Not in a `finally`: a rank that leaves with an exception breaks its peers, whose exceptions
    # would then arrive before the cause.
    dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise JobError(
            f"rank {local_rank} has no GPU: there are {torch.cuda.device_count()}, and each rank "
            "needs one. Set trial.ranks to that or less."
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
