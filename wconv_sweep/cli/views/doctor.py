"""Draws the checks of `doctor`: a line each, with a remedy below each problem."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from wconv_sweep.doctor.checks import Check, Mark

_SIGNS = {Mark.RIGHT: "✓", Mark.WRONG: "✗", Mark.WARNING: "!", Mark.SKIPPED: "-"}
_ASCII = {Mark.RIGHT: "+", Mark.WRONG: "x"}
_STYLES = {Mark.RIGHT: "green", Mark.WRONG: "red", Mark.WARNING: "yellow", Mark.SKIPPED: "dim"}


def print_check(out: Console, check: Check) -> None:
    """Print a check with its mark; the remedy follows, indented, one line for each of its own."""
    ascii_only = not out.encoding.lower().startswith("utf")
    sign = _ASCII.get(check.mark, _SIGNS[check.mark]) if ascii_only else _SIGNS[check.mark]
    out.print(Text.assemble((sign, _STYLES[check.mark]), " ", check.what))
    for line in check.remedy.splitlines():
        out.print(Padding(Text(line), (0, 0, 0, 4)) if out.is_terminal else Text(f"    {line}"))


def print_sum(out: Console, checks: Sequence[Check]) -> None:
    """Print the number of problems and warnings."""
    count = {mark: sum(check.mark is mark for check in checks) for mark in Mark}
    parts = [
        f"{count[mark]} {word}"
        for mark, word in ((Mark.WRONG, "wrong"), (Mark.WARNING, "to look at"))
        if count[mark]
    ]
    out.print(Text(", ".join(parts) if parts else "No problem found."))


def check_json(area: str, check: Check) -> dict[str, str]:
    """Return a check for scripts."""
    return {
        "area": area,
        "mark": str(check.mark),
        "what": check.what,
        "remedy": check.remedy,
    }
