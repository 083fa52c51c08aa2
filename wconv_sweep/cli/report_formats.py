"""Writes a report as Markdown, as LaTeX or as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Literal

from wconv_sweep.cli.report_tables import Column, Table, notes, tables
from wconv_sweep.results.report import Comparison

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
)
_TEX_SPECIALS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",  # the default font encoding has another glyph there
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
    | {special: f"\\{special}" for special in "{}$&#%_"}
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
    parts = [f"## {table.title}\n\n{_markdown_table(table)}\n" for table in laid_out]
    parts.append("## Notes\n\n" + "".join(f"* {remark}\n" for remark in remarks))
    return "\n".join(parts)


def _markdown_table(table: Table) -> str:
    heading = tuple(column.heading for column in table.columns)
    widths = [
        max(3, *(len(cell) for cell in cells)) for cells in zip(heading, *table.rows, strict=True)
    ]
    columns = list(zip(table.columns, widths, strict=True))
    rule = [
        f"{'-' * (width - 1)}:" if column.numeric else "-" * width for column, width in columns
    ]
    lines = [_markdown_row(heading, columns), f"| {' | '.join(rule)} |"]
    lines += [_markdown_row(row, columns) for row in table.rows]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str], columns: Sequence[tuple[Column, int]]) -> str:
    padded = [
        cell.rjust(width) if column.numeric else cell.ljust(width)
        for cell, (column, width) in zip(cells, columns, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _tex(laid_out: Sequence[Table], remarks: Sequence[str]) -> str:
    parts = [_tex_table(table) for table in laid_out]
    items = "".join(f"  \\item {_escaped(remark)}\n" for remark in remarks)
    parts.append(f"\\begin{{itemize}}\n{items}\\end{{itemize}}\n")
    return "\n".join(parts)


def _tex_table(table: Table) -> str:
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    heading = _tex_row([column.heading for column in table.columns])
    rows = "\n".join(_tex_row(row) for row in table.rows)
    # Small and, in two-column documents, over both: the table of denoising has seventeen columns.
    return (
        "\\begin{table*}\n"
        f"  \\caption{{{_escaped(table.title)}}}\n"
        "  \\centering\\tiny\\setlength{\\tabcolsep}{2pt}\n"
        f"  \\begin{{tabular}}{{{alignment}}}\n"
        "    \\hline\n"
        f"{heading}\n"
        "    \\hline\n"
        f"{rows}\n"
        "    \\hline\n"
        "  \\end{tabular}\n"
        "\\end{table*}\n"
    )


def _tex_row(cells: Sequence[str]) -> str:
    return f"    {' & '.join(_escaped(cell) for cell in cells)} \\\\"


def _escaped(text: str) -> str:
    return text.translate(_TEX_SPECIALS)


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
                ]
            )
    return text.getvalue()
