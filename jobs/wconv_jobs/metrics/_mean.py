"""The mean of one value per sample, the form that all metrics so far share."""

from collections.abc import Callable

import torch
from torch import Tensor

# Shape letters: B batch.


class MeanOverSamples:
    """A metric that is the mean of `values(output, target)`, shape (B,), over all samples.

    State: (sum of the values, number of samples).
    """

    def __init__(self, values: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._values = values
        self._sum: Tensor | None = None
        self._samples = 0

    @torch.no_grad()
    def update(self, output: Tensor, target: Tensor) -> None:
        values_B = self._values(output, target)
        # The sum stays on its device, so that no batch waits for the GPU.
        batch_sum = values_B.to(torch.float64).sum()
        self._sum = batch_sum if self._sum is None else self._sum + batch_sum
        self._samples += len(values_B)

    def state(self) -> Tensor:
        total = 0.0 if self._sum is None else self._sum.item()
        return torch.tensor([total, self._samples], dtype=torch.float64)

    def compute(self, state: Tensor) -> float:
        total, samples = state.tolist()
        return total / samples if samples else float("nan")
