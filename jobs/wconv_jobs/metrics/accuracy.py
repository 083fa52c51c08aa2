"""Fraction of samples whose largest logit is that of the right class."""

from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._mean import MeanOverSamples

# Shape letters: B batch, K classes.

TITLE = "accuracy"
UNIT = ""
KIND = "classification"
GOAL = "maximize"
EVERY_EPOCH = True
COUNTS_SAMPLES = True


def build() -> Metric:
    """Return accuracy = (number of samples with argmax(logits) = class) / (number of samples).

    Outputs have the shape (B, K), targets are class labels of the shape (B,). Of equal logits,
    PyTorch's argmax decides. Counts are integers, hence exact.
    """
    return MeanOverSamples(_hits)


def _hits(logits_BK: Tensor, class_B: Tensor) -> Tensor:
    if logits_BK.ndim != 2 or class_B.shape != logits_BK.shape[:1]:
        raise JobError(
            "accuracy needs logits (B, classes) and class labels (B,), but the output has "
            f"{tuple(logits_BK.shape)} and the target {tuple(class_B.shape)}. Use a classifier "
            "with a classification data set."
        )
    return logits_BK.argmax(dim=1) == class_B
