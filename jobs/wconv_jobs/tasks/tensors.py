"""A data set of tensors that the user's own function returns, as a task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from wconv_jobs.catalog import epoch_metrics
from wconv_jobs.errors import JobError
from wconv_jobs.kinds import TaskKind
from wconv_jobs.seeding import generator
from wconv_jobs.tasks.evaluation_batches import evaluation_batches
from wconv_jobs.tasks.task import Part, Task

# Shape letters: B batch, C channels, H height, W width, K classes, S samples of a part.

PARTS = ("train", "validation", "test")


class TensorTask:
    """Inputs and targets in memory, a `wconv_jobs.tasks.task.Task`.

    Inputs are float32, (S, C, H, W). Targets are class labels (S,) int64 for classification, with
    the cross-entropy as loss, or images (S, C, H, W) in [0, 1] for denoising, with the mean
    squared error: any task that makes one image of another. Every epoch shows each training sample
    once, in an order drawn from (seed, "order", epoch).
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[Tensor, Tensor]],
        *,
        kind: TaskKind,
        seed: int,
        device: torch.device | str,
    ) -> None:
        """Take the tensors.

        Args:
            parts: (inputs, targets) of train, validation and test.
            kind: of task.
            seed: source of the order.
            device: of the batches; all tensors are moved there.

        Raises:
            JobError: a part is missing or has another form.
        """
        self._parts = {
            part: _checked(part, parts.get(part), kind, torch.device(device)) for part in PARTS
        }
        self._kind = kind
        self._seed = seed
        self._order: tuple[int, Tensor] | None = None
        self.epoch_samples: int = len(self._parts["train"][0])
        self.metrics: tuple[str, ...] = epoch_metrics(kind)
        self.classes: int | None = None
        if kind == "classification":
            labels = [targets for _, targets in self._parts.values()]
            self._lowest = min(int(targets.min()) for targets in labels)
            self.classes = 1 + max(int(targets.max()) for targets in labels)
        inputs, targets = self._parts["test"]
        self.input_is_estimate: bool = kind == "denoising" and inputs.shape == targets.shape

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, H, W) and targets of some samples of an epoch."""
        if self._order is None or self._order[0] != epoch:
            drawn = torch.randperm(
                self.epoch_samples, generator=generator(self._seed, "order", epoch)
            )
            self._order = epoch, drawn
        inputs, targets = self._parts["train"]
        chosen = self._order[1][samples.start : samples.stop : samples.step].to(inputs.device)
        return inputs[chosen], targets[chosen]

    def names(self, part: Part) -> Sequence[str]:
        """Return the number of each sample as its name."""
        return [str(number) for number in range(len(self._parts[part][0]))]

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets of items in their order."""
        inputs, targets = self._parts[part]
        for batch in evaluation_batches(items, inputs.shape[2:].numel()):
            yield inputs[batch], targets[batch]

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy, or the mean squared error.

        Raises:
            JobError: the network's output does not fit the targets.
        """
        if self._kind == "classification":
            assert self.classes is not None
            if output.ndim != 2 or output.shape[1] < self.classes:
                remedy = (
                    "Change the network."
                    if self._lowest == 0
                    else f"The class labels begin with {self._lowest}: count them from 0."
                )
                raise JobError(
                    f"the network returns {tuple(output.shape)}, but the data need logits (B, "
                    f"classes) for {self.classes} classes. {remedy}"
                )
            return F.cross_entropy(output, target, label_smoothing=label_smoothing)
        if output.shape != target.shape:
            raise JobError(
                f"the network returns {tuple(output.shape)} for targets of "
                f"{tuple(target.shape)}. Change the network or the data."
            )
        return F.mse_loss(output, target)


def task_of(
    returned: Any, name: str, *, kind: TaskKind, seed: int, device: torch.device | str
) -> Task:
    """Return the task of a function of the user.

    Args:
        returned: its result: a `wconv_jobs.tasks.task.Task`, or a mapping from train,
            validation and test to (inputs, targets).
        name: of the function.
        kind: of task, for tensors.
        seed: see `TensorTask`.
        device: for batches and data.

    Raises:
        JobError: it is neither.
    """
    if isinstance(returned, Mapping):
        try:
            return TensorTask(returned, kind=kind, seed=seed, device=device)
        except JobError as error:
            raise JobError(f"{name}: {error}") from error
    if all(hasattr(returned, needed) for needed in ("train_batch", "evaluation_batches", "loss")):
        task: Task = returned
        return task
    raise JobError(
        f"{name}: returned {type(returned).__name__}, not a data set. Return a mapping from "
        "train, validation and test to (inputs, targets), or a wconv_jobs.tasks.task.Task."
    )


def _checked(
    part: str, pair: object, kind: TaskKind, device: torch.device
) -> tuple[Tensor, Tensor]:
    assert kind in get_args(TaskKind)
    match pair:
        case (Tensor() as inputs, Tensor() as targets):
            pass
        case _:
            raise JobError(f"{part} is not a pair of tensors. Return (inputs, targets).")
    if len(inputs) != len(targets) or not len(inputs):
        raise JobError(
            f"{part} has {len(inputs)} inputs and {len(targets)} targets. Give as many of "
            "both, and at least one."
        )
    if not inputs.is_floating_point():
        raise JobError(f"{part} has inputs of {inputs.dtype}. Convert them to float32.")
    if kind == "classification":
        if targets.ndim != 1 or targets.is_floating_point() or int(targets.min()) < 0:
            raise JobError(
                f"{part} has targets that are not class labels. Give integers (samples,) "
                "from 0 on."
            )
        targets = targets.long()
    elif not targets.is_floating_point():
        raise JobError(f"{part} has targets of {targets.dtype}. Convert them to float32.")
    elif targets.ndim != 4:
        raise JobError(
            f"{part} has targets of shape {tuple(targets.shape)}, but the metrics of denoising "
            "compare images (samples, channels, height, width). Give planes of volumes as images "
            "or as channels, and signals as images of height 1."
        )
    else:
        targets = targets.float()
    return inputs.float().to(device), targets.to(device)
