"""Metrics of a network over the validation or test set, reduced exactly over the ranks."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from wconv_jobs.memory_format import arranged
from wconv_jobs.metrics import ConfusionMatrix, build_metric
from wconv_jobs.spec import MemoryFormat
from wconv_jobs.tasks.task import Part, Task
from wconv_jobs.training.world import World

LOSS = "loss"
"""Name of the mean loss over a part, without label smoothing; early stopping looks at it."""


Seen = Callable[[Tensor, Tensor, Tensor], None]
"""Takes inputs, outputs and targets of a batch."""


def _go_on() -> None:
    """Let an evaluation run to its end."""


def evaluate(
    model: nn.Module,
    task: Task,
    part: Part,
    world: World,
    further: Sequence[str] = (),
    confusion: ConfusionMatrix | None = None,
    on_batch: Callable[[], None] = _go_on,
    memory_format: MemoryFormat = "contiguous",
    seen: Seen | None = None,
) -> dict[str, float]:
    """Return the loss and the task's metrics of `model` on `part`, the same on every rank.

    Args:
        model: is put into evaluation mode.
        task: the data.
        part: of the data.
        world: the ranks that share the work.
        further: metrics beside those of the task.
        confusion: takes in what this rank sees.
        on_batch: called before each batch; what it raises ends the evaluation.
        memory_format: order of the model's weights and of the images that it gets.
        seen: called with each batch that this rank has evaluated.
    """
    dtype = next(model.parameters()).dtype
    model.eval()
    names = [*task.metrics, *further]

    def network(inputs: Tensor) -> Tensor:
        outputs: Tensor = model(arranged(inputs.to(dtype), memory_format))
        return outputs

    return _score(network, task, part, world, names, on_batch, confusion, seen)


def evaluate_input(
    task: Task,
    part: Part,
    world: World,
    further: Sequence[str] = (),
    on_batch: Callable[[], None] = _go_on,
) -> dict[str, float]:
    """Return loss and metrics of the unprocessed input, e.g. of the noisy image."""
    return _score(lambda x: x, task, part, world, [*task.metrics, *further], on_batch)


def _score(
    network: Callable[[Tensor], Tensor],
    task: Task,
    part: Part,
    world: World,
    names: Sequence[str],
    on_batch: Callable[[], None],
    confusion: ConfusionMatrix | None = None,
    seen: Seen | None = None,
) -> dict[str, float]:
    metrics = {name: build_metric(name, classes=task.classes) for name in names}
    loss_sum = torch.zeros(2, dtype=torch.float64, device=world.device)
    # Every item on exactly one rank: no padding, so nothing is counted twice.
    items = range(len(task.names(part)))[world.rank :: world.size]
    # Not inference_mode: a network that keeps a constant of its first forward could not be trained
    # after an attempt that begins with an evaluation.
    with torch.no_grad():
        for inputs, targets in task.evaluation_batches(part, items):
            on_batch()
            outputs = network(inputs)
            # In float64, where the order of a sum, which depends on the threads, does not show.
            loss = task.loss(outputs.double(), _double(targets), label_smoothing=0.0)
            loss_sum[0] += loss * len(outputs)
            loss_sum[1] += len(outputs)
            for metric in metrics.values():
                metric.update(outputs, targets)
            if confusion is not None:
                confusion.update(outputs, targets)
            if seen is not None:
                seen(inputs, outputs, targets)
    total, samples = world.sum(loss_sum).tolist()
    values = {name: metric.compute(world.sum(metric.state())) for name, metric in metrics.items()}
    return values | {LOSS: total / samples if samples else float("nan")}


def _double(targets: Tensor) -> Tensor:
    return targets.double() if targets.is_floating_point() else targets
