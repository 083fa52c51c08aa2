"""The interface of a data set to the training loop."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from torch import Tensor

# Shape letters: B batch, C channels, H height, W width.

Part = Literal["validation", "test"]


class Task(Protocol):
    """A data set together with the loss and the metrics that belong to it.

    Every random choice is a pure function of the seed handed to `load` and of the arguments, never
    of the rank, the number of ranks, the density, or what was drawn before: trials with different
    densities see the same crops and the same noise in the same order, and a resumed run sees what
    the interrupted one would have seen.

    Batches lie on the device handed to `load`, and are float32 unless they are class labels.
    """

    epoch_samples: int
    """Number of training samples in one epoch, over all ranks."""
    metrics: tuple[str, ...]
    """Names of the metrics (modules of `wconv_jobs.metrics`) that are computed in any case."""
    classes: int | None
    """Number of classes; None when there are none."""
    input_is_estimate: bool
    """True when the input itself can be scored like an output, as in denoising."""

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, H, W) and targets of the samples `samples` of epoch `epoch`.

        Args:
            epoch: 0-based.
            samples: global sample numbers within the epoch, a part of range(epoch_samples); a rank
                asks for its share of the batch.
        """

    def names(self, part: Part) -> Sequence[str]:
        """Return the name of each item of a part, e.g. of the image, in a fixed order."""

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (B, C, H, W) and targets of some items of a part, in their order.

        The items are fixed, noise included; how many of them one batch holds is the task's choice.
        Targets are (B, C, H, W) for denoising and class labels (B,) for classification.

        Args:
            part: validation or test.
            items: item numbers, a part of range(len(names(part))); a rank asks for its share.
        """

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the scalar loss, the mean over the samples of the batch."""
