"""The kinds of tasks, and the metrics that belong to each.

Importing this module does not import torch.
"""

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["denoising", "classification"]


@dataclass(frozen=True)
class KindFacts:
    """What all data sets of a kind share."""

    metrics: tuple[str, ...]
    """Metrics of the validation after each epoch and of the test; one of them is a study's
    objective."""
    further_metrics: tuple[str, ...]
    """Metrics of the test set that a recipe may ask for, too slow for every epoch."""


KINDS: dict[TaskKind, KindFacts] = {
    "denoising": KindFacts(("psnr_db", "nrmse", "ssim"), ("uiq", "uiq_global", "fsim", "fsimc")),
    "classification": KindFacts(("accuracy", "macro_f1"), ()),
}
