"""Tables of text cells, written as Markdown or as LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table as text cells; a missing value is an empty cell."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown_table(table: Table) -> str:
    """Return the lines of a table, without its title and without a newline at the end."""
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


def tex_table(table: Table) -> str:
    """Return a table as a float that needs no package."""
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    heading = _tex_row([column.heading for column in table.columns])
    rows = "\n".join(_tex_row(row) for row in table.rows)
    # Small and, in two-column documents, over both: the table of denoising has seventeen columns.
    return (
        "\\begin{table*}\n"
        f"  \\caption{{{tex_escaped(table.title)}}}\n"
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
    return f"    {' & '.join(tex_escaped(cell) for cell in cells)} \\\\"


def tex_escaped(text: str) -> str:
    """Return text that LaTeX prints as it stands."""
    return text.translate(_TEX_SPECIALS)
