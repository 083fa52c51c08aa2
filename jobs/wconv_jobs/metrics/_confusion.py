"""The confusion matrix: how often each class was predicted for each true class."""

import torch
from torch import Tensor

from wconv_jobs.errors import JobError

# Shape letters: B batch, K classes, N K x K entries of the matrix, row by row.


class ConfusionMatrix:
    """C[i, j] = number of samples of class i whose largest logit is that of class j.

    Outputs have the shape (B, K), targets are class labels of the shape (B,). Of equal logits,
    PyTorch's argmax decides, and it takes NaN for the largest.

    State: the matrix row by row, (K * K,). Counts are integers, hence exact.
    """

    def __init__(self, classes: int) -> None:
        """Start with no sample.

        Args:
            classes: K, at least 1.
        """
        self._classes = classes
        self._counts: Tensor | None = None

    @torch.no_grad()
    def update(self, output: Tensor, target: Tensor) -> None:
        classes = self._classes
        if output.ndim != 2 or output.shape[1] != classes or target.shape != output.shape[:1]:
            raise JobError(
                f"{classes} classes are counted in logits (B, {classes}) and class labels (B,), "
                f"but the output has {tuple(output.shape)} and the target {tuple(target.shape)}. "
                "Use a classifier for as many classes as the data set has."
            )
        class_B = target.to(torch.int64)
        known_B = (class_B >= 0) & (class_B < classes)
        # A class label that does not exist has an entry of its own behind the matrix: as an index
        # it would kill the CUDA context, and to look for it here would make each batch wait for
        # the GPU, as torch.bincount does.
        entry_B = torch.where(known_B, class_B * classes + output.argmax(dim=1), classes**2)
        if self._counts is None:
            self._counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=output.device)
        self._counts = self._counts.index_add(0, entry_B, torch.ones_like(entry_B))

    def state(self) -> Tensor:
        if self._counts is None:
            return torch.zeros(self._classes**2, dtype=torch.float64)
        counts_N = self._counts.cpu()
        if counts_N[-1] > 0:
            raise JobError(
                f"{int(counts_N[-1])} samples have a class label outside "
                f"0..{self._classes - 1}. Correct the data set's labels or its number of classes."
            )
        return counts_N[:-1].to(torch.float64)

    def matrix(self, state: Tensor) -> Tensor:
        """Return C of a sum of states, shape (K, K), int64, on the CPU."""
        return state.cpu().round().to(torch.int64).view(self._classes, self._classes)
