"""The metrics by name: one module per metric, with a function `build` and literals, which are read
without running the module:

* `TITLE`, what people call it; `UNIT`, of its values, "" where there is none;
* `KIND`, the kind of task it belongs to, see `wconv_jobs.kinds`;
* `GOAL`, whether more or less is better: "maximize" or "minimize";
* `EVERY_EPOCH`, whether every validation computes it and a study may optimize it; one that takes
  too long for that is computed on the test set, where a recipe asks for it;
* `MAY_BE_INFINITE = True`, only where that is no sign of a training that diverged;
* `COUNTS_SAMPLES = True`, only where it changes in steps of about 1 / (number of samples).

A builder has no options. One that needs the number of classes has an argument `classes`, which
`build_metric` hands on.

A metric gathers sums on each rank, which are added over the ranks before the value is computed:
the value is that of all samples together, however unevenly they are split.
"""

import importlib
import inspect
from typing import Protocol

from torch import Tensor

from wconv_jobs.catalog import checked_options
from wconv_jobs.errors import JobError
from wconv_jobs.metrics._confusion import ConfusionMatrix

__all__ = ["ConfusionMatrix", "Metric", "build_metric"]


class Metric(Protocol):
    """A value over many samples. Usage: update for each batch, add the states, compute."""

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch, on any device and in any floating point type.

        Raises:
            JobError: the shapes of output and target do not belong together, or the metric is not
                defined for them.
        """

    def state(self) -> Tensor:
        """Return the sums so far: a float64 vector on the CPU, to be added over the ranks.

        The states of one metric have the same length on all ranks, also before any update.

        Raises:
            JobError: a target is not a class label of the task.
        """

    def compute(self, state: Tensor) -> float:
        """Return the value of a sum of states; NaN without samples."""


def build_metric(name: str, *, classes: int | None = None) -> Metric:
    """Return a new metric without samples.

    Args:
        name: a module of this package.
        classes: number of classes of the task; None if it has no classes. Metrics that do not
            count by class ignore it.

    Raises:
        JobError: an unknown name, or a metric that counts by class for a task without classes.
    """
    checked_options("metrics", name, {})
    build = importlib.import_module(f"{__name__}.{name}").build
    needs_classes = "classes" in inspect.signature(build).parameters
    if needs_classes and classes is None:
        raise JobError(
            f"{name} counts by class, but the task has no classes. Use it with a classification "
            "data set."
        )
    metric: Metric = build(classes=classes) if needs_classes else build()
    return metric
