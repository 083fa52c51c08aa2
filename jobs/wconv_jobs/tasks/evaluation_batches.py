"""Cuts the items of an evaluation into batches of limited size."""

from collections.abc import Iterator

EVALUATION_PX = 500 * 32 * 32
"""Maximum pixels in one batch of an evaluation: a network's activations grow with them, and
500 images of 224 x 224 would take 6.4 GB for each map of 64 channels."""


def evaluation_batches(items: range, item_px: int) -> Iterator[slice]:
    """Yield the items of one batch after the other, at least one item in each.

    Args:
        items: item numbers, in any steps upwards.
        item_px: pixels of one item.
    """
    size = max(1, EVALUATION_PX // max(1, item_px))
    for first in range(0, len(items), size):
        batch = items[first : first + size]
        yield slice(batch.start, batch.stop, batch.step)
