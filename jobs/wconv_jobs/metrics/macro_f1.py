"""F1 score of each class, averaged over the classes."""

from torch import Tensor

from wconv_jobs.metrics import Metric
from wconv_jobs.metrics._confusion import ConfusionMatrix

# Shape letters: K classes.

TITLE = "macro-F1"
UNIT = ""
KIND = "classification"
GOAL = "maximize"
EVERY_EPOCH = True
COUNTS_SAMPLES = True


def build(classes: int) -> Metric:
    """Return macro-F1 = mean over the classes i of F1_i = 2 TP_i / (2 TP_i + FP_i + FN_i).

    TP_i, FP_i and FN_i are the numbers of samples that are of class i and taken for it, taken for
    it only, and of it only. F1_i of a class that neither occurs nor is predicted is 0, and counts
    in the mean. Outputs have the shape (B, K), targets are class labels of the shape (B,).

    Args:
        classes: K.
    """
    return _MacroF1(classes)


class _MacroF1(ConfusionMatrix):
    """State: the confusion matrix row by row, (K * K,)."""

    def compute(self, state: Tensor) -> float:
        counts_KK = self.matrix(state)
        if not counts_KK.any():
            return float("nan")
        hits_K = counts_KK.diagonal()
        # Row i sums to TP_i + FN_i, column i to TP_i + FP_i.
        involved_K = counts_KK.sum(0) + counts_KK.sum(1)
        # Where the denominator is 0, the numerator is, too.
        return float((2 * hits_K.double() / involved_K.clamp(min=1)).mean())
