"""Writes a report as Markdown, as LaTeX or as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Literal

from wconv_sweep.results.report.comparison import Comparison
from wconv_sweep.results.report.notes import notes
from wconv_sweep.results.report.tables import tables
from wconv_sweep.results.text_tables import Table, markdown_table, tex_escaped, tex_table

Format = Literal["md", "tex", "csv"]

_CSV_COLUMNS = (
    "table",
    "study",
    "recipe",
    "architecture",
    "kernel_size",
    "variant",
    "density",
    "metric",
    "unit",
    "value",
    "published",
    "verdict",
)


def render(comparisons: Sequence[Comparison], form: Format) -> str:
    """Return a report as text that ends with a newline.

    md and tex show the same tables and notes, tex as a fragment for \\input that needs no package.
    csv has one line per study, variant and metric, in full precision, and no notes.
    """
    if form == "csv":
        return _csv(comparisons)
    if form == "tex":
        return _tex(tables(comparisons), notes(comparisons))
    return _markdown(tables(comparisons), notes(comparisons))


def _markdown(laid_out: Sequence[Table], remarks: Sequence[str]) -> str:
    parts = [f"## {table.title}\n\n{markdown_table(table)}\n" for table in laid_out]
    parts.append("## Notes\n\n" + "".join(f"* {remark}\n" for remark in remarks))
    return "\n".join(parts)


def _tex(laid_out: Sequence[Table], remarks: Sequence[str]) -> str:
    parts = [tex_table(table) for table in laid_out]
    items = "".join(f"  \\item {tex_escaped(remark)}\n" for remark in remarks)
    parts.append(f"\\begin{{itemize}}\n{items}\\end{{itemize}}\n")
    return "\n".join(parts)


def _csv(comparisons: Sequence[Comparison]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for each in comparisons:
        config = each.config
        for number in each.measurements():
            trial = each.trial(number.variant)
            density = (trial.density if trial else None) or ()
            writer.writerow(
                [
                    number.table,
                    config.study,
                    each.recipe,
                    config.model.name,
                    config.kernel_size,
                    number.variant,
                    " ".join(repr(value) for value in density),
                    number.metric,
                    number.unit,
                    number.value,
                    number.published,
                    number.verdict,
                ]
            )
    return text.getvalue()
