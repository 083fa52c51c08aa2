"""The ranks of one trial as one group: who I am, and what all of us agree on."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wconv_jobs.errors import JobError
from wconv_jobs.order import NodeOrder
from wconv_jobs.rendezvous import join


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
def world_of_ranks(order: NodeOrder) -> Iterator[World]:
    """Join the process group of a trial as the rank that LOCAL_RANK names, and leave it at an
    orderly end.

    Raises:
        JobError: this node has fewer GPUs than the order names.
        RuntimeError: the other ranks cannot be found.
    """
    local_rank = int(os.environ["LOCAL_RANK"])
    rank, size = order.first_rank + local_rank, order.ranks
    device = _device(rank, order.devices[local_rank] if order.devices else None)
    if size == 1:
        yield World(rank=0, size=1, device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = join(order.address, order.port)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    yield World(rank=rank, size=size, device=device)
    # Not in a `finally`: a rank that leaves with an exception breaks its peers, whose exceptions
    # would then arrive before the cause.
    dist.destroy_process_group()


def _device(rank: int, number: int | None) -> torch.device:
    # Where a scheduler counts GPUs that CUDA does not know of, training is on the CPU.
    if number is None or not torch.cuda.is_available():
        return torch.device("cpu")
    if number >= torch.cuda.device_count():
        raise JobError(
            f"rank {rank} has no GPU: there are {torch.cuda.device_count()}, and it was to take "
            f"number {number}. Set trial.ranks to the number of GPUs or less."
        )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device
