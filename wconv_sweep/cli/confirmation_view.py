"""Draws on the terminal what fresh seeds have shown."""

from collections.abc import Iterator

from rich.table import Table

from wconv_sweep.amounts import amount, density_text, interval, title
from wconv_sweep.evidence.confirmation import Arm, Confirmation

_TITLES = {
    "plain": "plain baseline",
    "initial weights": "initial weights alone",
    "gradient": "gradient alone",
}


def confirmation_table(confirmation: Confirmation) -> Table:
    """Return a row for each density, on the test part, with its difference to plain."""
    metric = confirmation.metric
    table = Table(
        title=f"{confirmation.config.study}: {title(metric)}, fresh seeds", title_justify="left"
    )
    table.add_column("")
    for heading in ("density", "seeds", "mean", "sd", "difference", _heading(confirmation)):
        table.add_column(heading, justify="right")
    for arm in (confirmation.plain, *confirmation.candidates, *confirmation.ablations):
        table.add_row(*_cells(confirmation, arm, metric))
    return table


def confirmation_line(confirmation: Confirmation) -> str:
    """Return the named density and what may be said of it, in a line."""
    named = confirmation.named
    density = "being trained" if named is None else density_text(named.density)
    difference = named and confirmation.difference(named, confirmation.metric)
    by = ""
    if difference:
        metric = confirmation.metric
        by = (
            f" {amount(metric, difference.mean, signed=True)} "
            f"({interval(metric, difference.interval)})"
        )
    return f"confirmed: {density}{by}: {confirmation.claim}"


def _heading(confirmation: Confirmation) -> str:
    for arm in confirmation.candidates:
        difference = confirmation.difference(arm, confirmation.metric)
        if difference is not None:
            return f"{100 * difference.level:.4g} % interval"
    return "interval"


def _cells(confirmation: Confirmation, arm: Arm, metric: str) -> Iterator[str]:
    summary = arm.summary(metric)
    yield _TITLES.get(arm.label, arm.label) + (" *" if arm is confirmation.named else "")
    yield density_text(arm.density)
    yield str(summary.seeds if summary else 0)
    yield amount(metric, summary.mean if summary else None)
    yield amount(metric, summary.sd if summary else None)
    difference = None if arm is confirmation.plain else confirmation.difference(arm, metric)
    yield amount(metric, difference.mean if difference else None, signed=True)
    yield interval(metric, difference.interval if difference else None)
