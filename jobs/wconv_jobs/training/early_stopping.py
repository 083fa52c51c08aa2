"""Decides whether training ends before its last epoch, and which epoch's weights count."""

from collections.abc import Sequence

from wconv_jobs.spec import EarlyStoppingSpec


def best_epoch(losses: Sequence[float], rule: EarlyStoppingSpec | None) -> int:
    """Return the epoch, from 1, whose weights are tested.

    It is the last one whose validation loss lies more than `min_delta` below that of the epoch
    that was the best before it; without a rule, the last of all.

    Args:
        losses: validation loss of each epoch so far, at least one.
        rule: early stopping of the recipe.
    """
    if rule is None:
        return len(losses)
    best = 1
    for epoch, loss in enumerate(losses, start=1):
        if loss < losses[best - 1] - rule.min_delta:
            best = epoch
    return best


def is_over(losses: Sequence[float], rule: EarlyStoppingSpec | None) -> bool:
    """Return whether `patience` epochs have passed since the best one."""
    if rule is None or not losses:
        return False
    return len(losses) - best_epoch(losses, rule) >= rule.patience
