"""The ranks of one trial as one group: the rank of each process, and their collectives."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wconv_jobs.training.buffers import take_from_rank_0


@dataclass(frozen=True)
class World:
    """Place of this process among the ranks of its trial; a lone process is rank 0 of 1."""

    rank: int
    size: int
    device: torch.device

    def share(self, batch_size: int, step: int) -> range:
        """Return this rank's sample numbers in optimizer step `step` of an epoch.

        Args:
            batch_size: samples per step over all ranks, a multiple of `size`.
            step: 0-based within the epoch.
        """
        part = batch_size // self.size
        start = step * batch_size + self.rank * part
        return range(start, start + part)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over the ranks, the same on each of them."""
        # Collectives take memory, not values: equal strides on all ranks, and no others for NCCL.
        total = values.to(self.device, copy=True, memory_format=torch.contiguous_format)
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def from_rank_0(self, number: int) -> int:
        """Return rank 0's `number` on every rank."""
        return self.numbers_from_rank_0([number])[0]

    def numbers_from_rank_0(self, numbers: Sequence[int]) -> list[int]:
        """Return rank 0's `numbers` on every rank; all of them give equally many."""
        if self.size == 1:
            return list(numbers)
        shared = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        dist.broadcast(shared, src=0)
        return [int(number) for number in shared.tolist()]

    def gather(self, value: Tensor) -> list[float]:
        """Return every rank's scalar `value`, rank 0's first, the same on each of them."""
        values = torch.zeros(self.size, dtype=value.dtype, device=self.device)
        values[self.rank] = value
        return [float(entry) for entry in self.sum(values).tolist()]

    def equalize_buffers(self, model: nn.Module) -> None:
        """Give every rank the buffers of rank 0.

        Each rank's BatchNorm follows its own share of the batch, and DistributedDataParallel
        broadcasts the buffers only before a training step: without this, validation after the last
        step of an epoch would score a different network on each rank.
        """
        if self.size > 1:
            for buffer in model.buffers():
                take_from_rank_0(buffer)
