"""Before training: does the network take the samples, and do ranks exchange all that it holds?"""

import torch
from torch import Tensor, nn

from wconv_jobs import own_code
from wconv_jobs.errors import JobError
from wconv_jobs.inspection import not_a_tensor
from wconv_jobs.tasks.task import Task
from wconv_jobs.training.buffers import take_from_rank_0
from wconv_jobs.training.probe import Source, few_samples, random_state_kept, standing_still, tried
from wconv_jobs.training.world import World

_CHANNELS = (1, 3, 4)
"""Of images, where they stand last by mistake."""


def unused_parameters(
    model: nn.Module,
    task: Task,
    world: World,
    *,
    amp: bool = False,
    build: Source | None = None,
) -> list[str]:
    """Return the names of the trainable parameters that the loss of a few samples does not use.

    A copy of the network is tried, see `wconv_jobs.training.probe.tried`.

    Args:
        model: as it is to be trained; not changed.
        task: gives the samples and the loss.
        world: of this process.
        amp: whether training computes in bfloat16.
        build: builds another network like this one.

    Raises:
        JobError: the network does not take the samples, or returns no tensor.
    """
    inputs, targets = few_samples(task)
    dtype = next((parameter.dtype for parameter in model.parameters()), inputs.dtype)
    targets = targets.to(dtype) if targets.is_floating_point() else targets

    def attempt(new: Source) -> list[str]:
        probe = standing_still(new())
        with torch.autocast(world.device.type, torch.bfloat16, enabled=amp):
            output = output_of(probe, inputs.to(dtype))
            loss = task.loss(output, targets, label_smoothing=0.0)
        torch.autograd.backward(loss)
        return [
            name
            for name, parameter in probe.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]

    with random_state_kept(world.device):
        return tried(model, build, attempt)


def output_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a network makes of a batch.

    Raises:
        JobError: it does not take the batch, or returns no tensor.
    """
    try:
        output = model(inputs)
    except (torch.OutOfMemoryError, JobError):
        raise
    except Exception as error:
        raise JobError(
            f"the network does not take a batch of shape {tuple(inputs.shape)}: "
            f"{own_code.words(error)}. {_remedy(inputs)}"
        ) from error
    if not isinstance(output, Tensor):
        raise JobError(not_a_tensor(output))
    return output


def check_exchange(model: nn.Module) -> None:
    """Give all ranks the buffers of rank 0's network, as before a step; all ranks call this.

    Raises:
        JobError: they cannot, for one of them; the message names it.
    """
    for name, buffer in model.named_buffers():
        try:
            take_from_rank_0(buffer)
        except Exception as error:
            layout = str(buffer.layout).removeprefix("torch.")
            kind = str(buffer.dtype) if layout == "strided" else f"{layout} {buffer.dtype}"
            raise JobError(
                f"buffer {name!r} ({kind}) cannot be sent from rank to rank. Keep it as a dense "
                "tensor, or set trial.ranks to 1."
            ) from error


def _remedy(inputs: Tensor) -> str:
    if inputs.ndim == 4 and inputs.shape[3] in _CHANNELS and inputs.shape[1] not in _CHANNELS:
        return (
            "The channels seem to stand last: give images as (samples, channels, height, width), "
            "with permute(0, 3, 1, 2)."
        )
    return "Change the network or the data."
