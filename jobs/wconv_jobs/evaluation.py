"""Metrics of a network over the validation or test part, reduced exactly over the ranks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wconv_jobs.distributed import World
from wconv_jobs.metrics import build_metric
from wconv_jobs.task import Part, Task


def evaluate(model: nn.Module, task: Task, part: Part, world: World) -> dict[str, float]:
    """Return the task's metrics of `model` on `part`, the same on every rank."""
    reference = next(model.parameters())
    model.eval()
    return _score(
        lambda x: model(x.to(device=reference.device, dtype=reference.dtype)), task, part, world
    )


def evaluate_input(task: Task, part: Part, world: World) -> dict[str, float]:
    """Return the task's metrics of the unprocessed input, e.g. of the noisy image."""
    return _score(lambda x: x.to(world.device), task, part, world)


def _score(
    network: Callable[[Tensor], Tensor], task: Task, part: Part, world: World
) -> dict[str, float]:
    metrics = {name: build_metric(name) for name in task.metrics}
    with torch.inference_mode():
        # Every item on exactly one rank: no padding, so nothing is counted twice.
        for item in task.items(part)[world.rank :: world.size]:
            output = network(item.input_CHW.unsqueeze(0))
            for metric in metrics.values():
                metric.update(output, item.target.unsqueeze(0).to(output.device))
    return {name: metric.compute(world.sum(metric.state())) for name, metric in metrics.items()}
