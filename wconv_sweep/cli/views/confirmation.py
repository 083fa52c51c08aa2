"""Draws on the terminal what fresh seeds have shown."""

from rich.table import Table

from wconv_sweep.amounts import amount, density_text, interval, title
from wconv_sweep.evidence.confirmation import Confirmation
from wconv_sweep.evidence.score_rows import Column, cell, level_text, score_rows

_COLUMNS: tuple[Column, ...] = ("density", "seeds", "mean", "sd", "difference", "interval")


def confirmation_table(confirmation: Confirmation) -> Table:
    """Return a row for each density, on the test set, with its difference to plain."""
    metric = confirmation.metric
    arms = (*confirmation.plains, *confirmation.candidates, *confirmation.ablations)
    rows = score_rows(confirmation, [metric], arms)
    # Candidates may be more, or fewer, than ablations: then their intervals have other levels.
    levels = sorted({level_text(row.difference) for row in rows if row.difference})
    table = Table(
        title=f"{confirmation.config.study}: {title(metric)}, fresh seeds", title_justify="left"
    )
    table.add_column("")
    for column in _COLUMNS[:-1]:
        table.add_column(column, justify="right")
    heading = f"{levels[0]} interval" if len(levels) == 1 else "interval"
    table.add_column(heading, justify="right")
    for row in rows:
        name, *cells = (cell(row, column) for column in ("network", *_COLUMNS))
        if row.difference and len(levels) > 1:
            cells[-1] += f" ({level_text(row.difference)})"
        table.add_row(name + (" *" if row.is_selected else ""), *cells)
    return table


def confirmation_line(confirmation: Confirmation) -> str:
    """Return the selected density and what may be said of it, in a line."""
    selected, metric = confirmation.selected, confirmation.metric
    difference = None if selected is None else confirmation.difference(selected, metric)
    if selected is None or difference is None or difference.interval is None:
        return confirmation.claim
    own_unit = confirmation.config.own_unit(metric)
    return (
        f"confirmed: {density_text(selected.density, selected.settings)} "
        f"{amount(metric, difference.mean, own_unit, signed=True)} "
        f"({interval(metric, difference.interval, own_unit)}): {confirmation.claim}"
    )
