"""The results of fresh seeds, as tables of the page of `report --html`."""

from collections.abc import Sequence

from wconv_sweep.amounts import title
from wconv_sweep.evidence import score_rows as scores
from wconv_sweep.evidence.confirmation import Arm, Confirmation
from wconv_sweep.results.text_tables import Column, Table

_COLUMNS: tuple[scores.Column, ...] = (
    *("density", "seeds", "mean", "sd", "difference", "level", "interval"),
    *("bootstrap interval", "verdict"),
)


def headline_table(confirmation: Confirmation) -> Table:
    """Return the metric of the claim: plain convolution and each candidate."""
    metric = confirmation.metric
    arms = (*confirmation.plains, *confirmation.candidates)
    return _table(f"{title(metric)}, fresh seeds", confirmation, [metric], arms)


def metrics_table(confirmation: Confirmation) -> Table:
    """Return every score of the test set, of plain convolution and of each candidate."""
    tested = [name for name in confirmation.metrics() if name.startswith("test_")]
    arms = (*confirmation.plains, *confirmation.candidates)
    return _table("All scores of the test set", confirmation, tested, arms)


def ablation_table(confirmation: Confirmation) -> Table:
    """Return where a difference comes from: all of the density, and each half of what it does."""
    selected = [confirmation.selected] if confirmation.selected else []
    arms = (confirmation.plain, *selected, *confirmation.ablations)
    what = f"Ablation: {title(confirmation.metric)}"
    return _table(what, confirmation, [confirmation.metric], arms)


def _table(
    heading: str, confirmation: Confirmation, metrics: Sequence[str], arms: Sequence[Arm]
) -> Table:
    """Return a row per metric and network; a single metric has room for the densities."""
    several = len(metrics) > 1
    columns = ("metric", "network", *_COLUMNS[1:]) if several else ("network", *_COLUMNS)
    rows = scores.score_rows(confirmation, metrics, arms, bootstrap=True)
    return Table(
        heading,
        tuple(
            Column(
                "t interval" if name == "interval" else name,
                numeric=name not in ("metric", "network", "verdict"),
            )
            for name in columns
        ),
        tuple(tuple(_cell(row, name) for name in columns) for row in rows if row.seeds),
    )


def _cell(row: scores.ScoreRow, column: scores.Column) -> str:
    text = scores.cell(row, column, without_difference="")
    if column == "network" and row.is_selected:
        return f"{text} *"
    return f"{text}, {row.failed} failed" if column == "seeds" and row.failed else text
