"""The speed of a trial on the hardware that it would be trained on: some of its steps, timed.

The network, the data, the steps and the validation are those of a trial; nothing is written.
"""

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.spec import TrialSpec
from wconv_jobs.training.agreement import Action
from wconv_jobs.training.evaluation import evaluate
from wconv_jobs.training.loop import LONE_PROCESS, Run
from wconv_jobs.training.world import World

WARM_UP_STEPS = 3
"""Steps before those that count: the first ones choose kernels and take memory."""
VALIDATED_S = 1.0
"""Time for a part of the validation set, seconds; what is left of it takes as long per sample."""


@dataclass(frozen=True)
class Speed:
    """The speed of one trial, all of its ranks together."""

    steps: float
    """Steps of the optimizer that were timed."""
    training_s: float
    """Wall time of these steps, seconds."""
    steps_per_epoch: float
    validation_s: float
    """Wall time of the validation after each epoch, seconds."""
    rank_memory_bytes: float
    """Most memory of a rank: of its GPU; without one, of the process."""


def measure(
    spec: TrialSpec, wanted_s: float, ready: Callable[[], None], world: World = LONE_PROCESS
) -> Speed:
    """Train for some time without an end, and validate for about a second.

    Args:
        spec: what to train.
        wanted_s: time to train for, seconds; at least one step is taken.
        ready: called on rank 0 after the warm-up; returns when the time begins, for all trials
            that are measured side by side.
        world: the process group to train in.

    Returns:
        The same on every rank.

    Raises:
        JobError: data, model or precision cannot be used here; the message says why.
    """
    _check_precision(spec, world)
    ends_s = math.inf
    run = Run(spec, world, lambda: time.monotonic() >= ends_s)
    run.module.train()
    for step in range(WARM_UP_STEPS):
        run.train_step(0, step % run.steps)
    _finish_queued(world)
    if world.rank == 0:
        ready()
    world.from_rank_0(0)  # the others wait for it
    started_s = time.monotonic()
    ends_s = started_s + wanted_s
    steps, action = 0, Action.GO
    while action is not Action.STOP:
        run.train_step(*divmod(steps, run.steps))
        steps += 1
        action = run.agreement.after_step()
    _finish_queued(world)
    taken_s = time.monotonic() - started_s
    slowest = [
        max(world.gather(torch.tensor(value, dtype=torch.float64)))
        for value in (taken_s, _validation_s(run), _memory_bytes(world))
    ]
    training_s, validation_s, memory_bytes = slowest
    return Speed(steps, training_s, run.steps, validation_s, memory_bytes)


class _Apart(World):
    """A rank that evaluates some items by itself: the others may take more of them, or fewer."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the values of this rank alone."""
        return values


def _validation_s(run: Run) -> float:
    """Return how long this rank takes for its share of the validation set, seconds."""
    world, items = run.world, len(run.task.names("validation"))
    share = math.ceil(items / world.size)
    wanted = 1
    while True:
        # One item of so many: those that are left out lie between.
        part = _Apart(0, max(1, items // wanted), world.device)
        started_s = time.monotonic()
        order = run.spec.memory_format
        evaluate(run.model, run.task, "validation", part, memory_format=order)
        _finish_queued(world)
        taken_s = time.monotonic() - started_s
        seen = len(range(0, items, part.size))
        if seen >= share or 2 * taken_s > VALIDATED_S:
            return taken_s / seen * share
        wanted *= 2


def _check_precision(spec: TrialSpec, world: World) -> None:
    if (
        spec.recipe.amp == "bfloat16"
        and world.device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        name = torch.cuda.get_device_name(world.device)
        raise JobError(f"{name} computes no bfloat16. Set recipe.amp to none.")


def _finish_queued(world: World) -> None:
    if world.device.type == "cuda":
        torch.cuda.synchronize(world.device)


def _memory_bytes(world: World) -> int:
    if world.device.type == "cuda":
        return torch.cuda.max_memory_reserved(world.device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
