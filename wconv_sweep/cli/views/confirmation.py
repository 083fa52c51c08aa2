"""Draws on the terminal what fresh seeds have shown."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from wconv_sweep.amounts import amount, density_text, interval, title
from wconv_sweep.evidence.confirmation import Arm, Confirmation
from wconv_sweep.evidence.statistics import Difference

_TITLES = {
    "plain": "plain baseline",
    "initial weights": "initial weights alone",
    "gradient": "gradient alone",
}


def confirmation_table(confirmation: Confirmation) -> Table:
    """Return a row for each density, on the test set, with its difference to plain."""
    metric = confirmation.metric
    table = Table(
        title=f"{confirmation.config.study}: {title(metric)}, fresh seeds", title_justify="left"
    )
    arms = (confirmation.plain, *confirmation.candidates, *confirmation.ablations)
    levels = _levels(confirmation, arms)
    heading = f"{levels[0]} interval" if len(levels) == 1 else "interval"
    table.add_column("")
    for each in ("density", "seeds", "mean", "sd", "difference", heading):
        table.add_column(each, justify="right")
    for arm in arms:
        table.add_row(*_cells(confirmation, arm, metric, levelled=len(levels) > 1))
    return table


def confirmation_line(confirmation: Confirmation) -> str:
    """Return the selected density and the conclusion about it, in a line."""
    named, metric = confirmation.named, confirmation.metric
    difference = None if named is None else confirmation.difference(named, metric)
    if named is None or difference is None or difference.interval is None:
        return confirmation.claim
    return (
        f"confirmed: {density_text(named.density)} "
        f"{amount(metric, difference.mean, signed=True)} "
        f"({interval(metric, difference.interval)}): {confirmation.claim}"
    )


def _levels(confirmation: Confirmation, arms: Sequence[Arm]) -> list[str]:
    """Return the levels of all intervals; candidates may be more, or fewer, than ablations."""
    found = (
        confirmation.difference(arm, confirmation.metric)
        for arm in arms
        if arm is not confirmation.plain
    )
    return sorted({_level(difference) for difference in found if difference is not None})


def _level(difference: Difference) -> str:
    return f"{100 * difference.level:.4g} %"


def _cells(confirmation: Confirmation, arm: Arm, metric: str, *, levelled: bool) -> Iterator[str]:
    summary = arm.summary(metric)
    yield _TITLES.get(arm.label, arm.label) + (" *" if arm is confirmation.named else "")
    yield density_text(arm.density)
    yield str(summary.seeds if summary else 0)
    yield amount(metric, summary.mean if summary else None)
    yield amount(metric, summary.sd if summary else None)
    difference = None if arm is confirmation.plain else confirmation.difference(arm, metric)
    yield amount(metric, difference.mean if difference else None, signed=True)
    shown = interval(metric, difference.interval if difference else None)
    yield f"{shown} ({_level(difference)})" if difference and levelled else shown
