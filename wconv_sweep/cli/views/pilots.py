"""Draws the pilots of a study: how many there are, and what each has used."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from wconv_sweep.evidence.overview import StudyOverview
from wconv_sweep.evidence.pilot_use import AgentState, PilotUse

ROWS = 12
"""Pilots that are shown one by one; `--json` has all of them."""
_NODE_WIDTH = 32
"""Characters; leaves room for the other columns in a line of 80."""
_WORDS = {AgentState.WORKING: "at work"}


def agents_line(study: StudyOverview) -> str:
    """Return the numbers of working, silent and ended agents; empty if there were none."""
    agents = study.agents
    counts = {"at work": agents.working, "silent": agents.silent, "ended": agents.ended}
    known = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return f"pilots: {known}" if known else ""


def pilots_table(pilots: Sequence[PilotUse], rows: int | None) -> Table:
    """Return a row for each pilot, and one with the sum of those left out.

    Working ones come first, then silent ones; within each group the latest first.

    Args:
        pilots: in the order of their numbers.
        rows: at most; None stands for `ROWS`.
    """
    states = list(AgentState)
    ordered = sorted(pilots, key=lambda each: (states.index(each.state), -each.pilot))
    shown = ordered[: min(ROWS, rows or ROWS)]
    table = Table(box=None, pad_edge=False)
    # If node names are too long for the line, only they are cut.
    table.add_column("pilot", justify="right", no_wrap=True)
    table.add_column("job", no_wrap=True)
    table.add_column("node", overflow="ellipsis", no_wrap=True, max_width=_NODE_WIDTH)
    table.add_column("state", no_wrap=True)
    table.add_column("GPU-hours", justify="right", no_wrap=True)
    for pilot in shown:
        others = f" +{len(pilot.hosts) - 1}" if len(pilot.hosts) > 1 else ""
        table.add_row(
            str(pilot.pilot),
            pilot.job or "-",
            Text(f"{pilot.hosts[0]}{others}"),
            _WORDS.get(pilot.state, str(pilot.state)),
            f"{pilot.gpu_hours:.2f}",
        )
    left = ordered[len(shown) :]
    if left:
        hours = sum(pilot.gpu_hours for pilot in left)
        table.add_row("", "", "", f"{len(left)} more", f"{hours:.2f}")
    return table


def pilots_json(pilots: Sequence[PilotUse]) -> list[dict[str, Any]]:
    """Return all pilots as plain data."""
    return [
        asdict(pilot) | {"hosts": list(pilot.hosts), "state": str(pilot.state)} for pilot in pilots
    ]
