"""Buffers of a network as bytes, sent from rank 0 to the others whatever their type and strides.

A collective takes the memory of a tensor, not its values: gloo sends that of a strided tensor as
if it were contiguous, NCCL refuses it, and neither takes every type.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_SENT_BY_DDP = frozenset(
    {
        torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64, torch.float16,
        torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    }
)  # fmt: skip


def distributed(model: nn.Module, *, find_unused_parameters: bool) -> DistributedDataParallel:
    """Return the network for training on several ranks; each step begins with rank 0's buffers.

    Args:
        model: its buffers must be those of rank 0 already.
        find_unused_parameters: see DistributedDataParallel, which cannot send all buffers: it
            leaves the others alone.
    """
    left = [
        name
        for name, buffer in model.named_buffers()
        if buffer.dtype not in _SENT_BY_DDP or _once(buffer) is not buffer
    ]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]  # torch does not annotate it
        model, left
    )
    module = DistributedDataParallel(model, find_unused_parameters=find_unused_parameters)

    def send(*_: object) -> None:
        for name in left:
            take_from_rank_0(model.get_buffer(name))

    module.register_forward_pre_hook(send)
    return module


@torch.no_grad()
def take_from_rank_0(buffer: Tensor) -> None:
    """Give a buffer the values that it has on rank 0; all ranks call this.

    Raises:
        ValueError: it is sparse or quantized.
    """
    if buffer.layout is not torch.strided or buffer.is_quantized:
        raise ValueError("its values are not the bytes of its memory")
    values = _once(buffer)
    # Not `contiguous`, which keeps odd strides where there is one element.
    sent = torch.empty(values.shape, dtype=values.dtype, device=values.device).copy_(values)
    dist.broadcast(sent.view(-1).view(torch.uint8), src=0)
    values.copy_(sent)


def _once(buffer: Tensor) -> Tensor:
    """Return a view of a buffer without the repetitions of `expand`."""
    for dim, stride in enumerate(buffer.stride()):
        if stride == 0 and buffer.shape[dim] > 1:
            buffer = buffer.narrow(dim, 0, 1)
    return buffer
