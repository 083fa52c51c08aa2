"""Ranks have the buffers of rank 0, by value, whatever their type and their place in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from wconv_jobs.training import buffers
from wconv_jobs.training.network_check import check_exchange
from wconv_jobs.training.world import World

# Made from the numbers 1 to 4, with a rank's own added.
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "every second": lambda values: torch.cat([values, values + 100])[::2],
    "transposed": lambda values: values.view(2, 2).t(),
    "channels_last": lambda values: (
        values.view(1, 2, 2, 1).contiguous(memory_format=torch.channels_last)
    ),
    "repeated": lambda values: values[:1].expand(4),
    "overlapping": lambda values: values.unfold(0, 2, 1),
    "conjugate": lambda values: torch.complex(values, values).conj(),
    "a number": lambda values: values[0],
    "empty": lambda values: values[:0],
    **{
        str(dtype): lambda values, dtype=dtype: values.to(dtype)  # type: ignore[misc]  # one more argument
        for dtype in (
            torch.bool, torch.uint8, torch.int8, torch.int16, torch.int64, torch.uint16,
            torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float64,
            torch.float8_e4m3fn, torch.complex64,
        )
    },
}  # fmt: skip


class _WithBuffers(nn.Module):
    """Has a buffer of each kind, with other values on each rank."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        for number, kind in enumerate(KINDS.values()):
            self.register_buffer(f"kind_{number}", kind(torch.arange(1.0, 5.0) + rank))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


def _check(network: nn.Module) -> None:
    for (name, kind), buffer in zip(KINDS.items(), network.buffers(), strict=True):
        expected = kind(torch.arange(1.0, 5.0))
        # Not every type can be compared: the bytes of the values can.
        assert _bytes(buffer) == _bytes(expected), name
        assert buffer.stride() == expected.stride(), name


def _bytes(values: Tensor) -> list[int]:
    flat = torch.empty(values.shape, dtype=values.dtype).copy_(values).view(-1)
    return [int(byte) for byte in flat.view(torch.uint8)]


def _equalize(rank: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    world = World(rank, 2, torch.device("cpu"))

    after_an_epoch = _WithBuffers(rank)
    world.equalize_buffers(after_an_epoch)
    _check(after_an_epoch)

    before_training = _WithBuffers(rank)
    check_exchange(before_training)
    _check(before_training)

    in_a_step = _WithBuffers(rank)
    module = buffers.distributed(in_a_step, find_unused_parameters=False)
    module(torch.ones(1, 2)).sum().backward()
    _check(in_a_step)

    values = torch.arange(4.0).view(2, 2)
    elsewhere_in_memory = values.t().contiguous().t() if rank else values
    assert world.sum(elsewhere_in_memory).tolist() == [[0.0, 2.0], [4.0, 6.0]]

    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_exchange_values_whatever_their_type_and_place(tmp_path: Path) -> None:
    spawn(_equalize, args=(tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
