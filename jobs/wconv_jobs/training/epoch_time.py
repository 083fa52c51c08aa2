"""The time of an epoch, by which two trials can be compared."""

import statistics
from collections.abc import Sequence

from wconv_jobs.messages import Report


def epoch_s(reports: Sequence[Report]) -> float:
    """Return the median wall time of an epoch, validation included, seconds.

    Over the steady epochs; where there are none, over all.
    """
    return statistics.median(each.epoch_s for each in _steady(reports) or reports)


def steady_epochs(reports: Sequence[Report]) -> int:
    """Return the number of epochs that were not the first of their attempt."""
    return len(_steady(reports))


def _steady(reports: Sequence[Report]) -> list[Report]:
    return [each for each in reports if each.steady]
