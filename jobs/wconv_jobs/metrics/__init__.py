"""The metrics by name: one module per metric, with a function `build`, and a literal `GOAL`
that says whether more is better: "maximize" or "minimize".

A metric gathers sums on each rank, which are added over the ranks before the value is computed:
the value is that of all samples together, however unevenly they are split.
"""

import importlib
from typing import Protocol

from torch import Tensor

from wconv_jobs.catalog import checked_options


class Metric(Protocol):
    """A value over many samples. Use: update for each batch, add the states, compute."""

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in a batch, on any device and in any floating point type.

        Raises:
            JobError: the shapes of output and target do not belong together.
        """

    def state(self) -> Tensor:
        """Return the sums so far: a float64 vector on the CPU, to be added over the ranks.

        The states of one metric have the same length on all ranks, also before any update.
        """

    def compute(self, state: Tensor) -> float:
        """Return the value of a sum of states; NaN when no sample was taken in."""


def build_metric(name: str) -> Metric:
    """Return a new metric that has taken in no sample.

    Raises:
        JobError: an unknown name.
    """
    checked_options("metrics", name, {})
    metric: Metric = importlib.import_module(f"{__name__}.{name}").build()
    return metric
