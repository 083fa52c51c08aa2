"""Joins the process group of a trial, on the GPU that the order names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from wconv_jobs.errors import JobError
from wconv_jobs.ranks.freed_memory import keep_freed_memory
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.rendezvous import join
from wconv_jobs.tasks import residence
from wconv_jobs.training.world import World


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
    if device.type == "cpu":
        keep_freed_memory()
    else:
        residence.share_gpu(device, order.trials_per_gpu)
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
