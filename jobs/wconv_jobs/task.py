"""What a data set offers to the training loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

# Shape letters: B batch, C channels, H height, W width.

Part = Literal["validation", "test"]


@dataclass(frozen=True)
class EvaluationItem:
    """One input of the validation or test part, with what the network should make of it."""

    name: str
    """Stable name of the item, e.g. the photograph's."""
    input_CHW: Tensor
    target: Tensor
    """(C, H, W) for denoising, a scalar class number for classification."""


class Task(Protocol):
    """A data set together with the loss and the metrics that belong to it.

    Every random choice is a pure function of the seed handed to `load` and of the arguments, never
    of the rank, the number of ranks, the density, or what was drawn before: trials with different
    densities see the same crops and the same noise in the same order, and a resumed run sees what
    the interrupted one would have seen.
    """

    epoch_samples: int
    """Number of training samples in one epoch, over all ranks."""
    metrics: tuple[str, ...]
    """Names of the metrics (modules of `wconv_jobs.metrics`), the main one first."""
    input_is_estimate: bool
    """True when the input itself can be scored like an output, as in denoising."""

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, H, W) and targets of the samples `samples` of epoch `epoch`.

        Args:
            epoch: 0-based.
            samples: global sample numbers within the epoch, a part of range(epoch_samples); a rank
                asks for its share of the batch.
        """

    def items(self, part: Part) -> Sequence[EvaluationItem]:
        """Return the fixed items of a part, in a fixed order; noise included."""

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the scalar training loss, the mean over the batch."""
