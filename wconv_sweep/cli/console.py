"""Draws results on the terminal."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from wconv_sweep.amounts import amount as _amount
from wconv_sweep.amounts import density_text as _density
from wconv_sweep.amounts import title as _title
from wconv_sweep.cli.views.confirmation import confirmation_table
from wconv_sweep.evidence.results import StudyResult
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.storage.tables import SlotState

if TYPE_CHECKING:
    # It loads Optuna, which status does not need.
    from wconv_sweep.slots.retry import Retried


def console() -> Console:
    """Return the console for results: unwrapped plain text if stdout is not a terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=10_000)


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2))


def print_error(message: str) -> None:
    """Print each line of an error to stderr."""
    lines = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in message.splitlines():
        lines.print(f"wconv-sweep: {line}", markup=False)


def retried_line(retried: "Retried") -> str:
    """Return what `retry` did with one trial."""
    label = f" ({retried.label})" if retried.label else ""
    start = f"continues after epoch {retried.epoch}" if retried.epoch else "starts over"
    point = retried.point
    density = _density(None) if point is None else _density(point.density, point.settings)
    return (
        f"trial {retried.trial}{label}, density {density}: open again, "
        f"{start}; it had failed with {retried.reason}"
    )


def retried_json(retried: "Retried") -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "trial": retried.trial,
        "label": retried.label,
        **({"density": None} if retried.point is None else retried.point.plain()),
        "epoch": retried.epoch,
        "reason": retried.reason,
    }


def print_result(out: Console, status: StudyStatus, next_commands: Sequence[str]) -> None:
    """Print the table that a study ends with, and what to run next."""
    result = status.result
    assert result is not None
    metric, own_unit = status.config.objective.metric, status.config.objective.unit
    out.print()
    confirmation = status.confirmation
    out.print(confirmation_table(confirmation) if confirmation else _result_table(status, result))
    counts = status.counts
    if confirmation is not None:
        selected = confirmation.selected
        density = (
            "the density"
            if selected is None
            else f"{_density(selected.density, selected.settings)}"
        )
        verdict = f"{density} (*): {confirmation.claim}."
    elif result.best is result.plain:
        verdict = "No density tried beat plain convolution on the validation set."
    else:
        against = (
            "the plain baseline failed"
            if result.difference is None
            else f"{_amount(metric, result.difference, own_unit, signed=True)} against plain "
            "convolution"
        )
        verdict = (
            f"The best was chosen on the validation set ({against}); it is one run of one seed, "
            "so part of its lead may be luck."
        )
    pruned = "".join(
        f"{counts[state]} {state}, "
        for state in (SlotState.PRUNED, SlotState.SKIPPED)
        if counts[state]
    )
    out.print(
        f"{counts[SlotState.COMPLETE]} trials complete, {pruned}{counts[SlotState.FAILED]} "
        f"failed. {verdict}",
        soft_wrap=True,
    )
    out.print("\nNext:")
    for command in next_commands:
        out.print(f"  {command}", markup=False, soft_wrap=True)


def _result_table(status: StudyStatus, result: StudyResult) -> Table:
    metric, own_unit = status.config.objective.metric, status.config.objective.unit
    table = Table(title=f"{status.study}: {_title(metric)} on the test set", title_justify="left")
    table.add_column("")
    table.add_column("density", justify="right")
    table.add_column(_title(metric), justify="right")
    tested = f"test_{metric}"
    if result.best is not result.plain:
        table.add_row(
            "best density",
            _density(result.best.density, result.best.settings),
            _amount(metric, result.best.metrics.get(tested), own_unit),
        )
    if result.plain is not None:
        plain = result.plain
        table.add_row(
            "plain baseline",
            _density(plain.density, plain.settings),
            _amount(metric, plain.metrics.get(tested), own_unit),
        )
    unprocessed = result.best.metrics.get(f"input_{metric}")
    if unprocessed is not None:
        table.add_row("noisy input", "", _amount(metric, unprocessed, own_unit))
    difference = result.test_difference(metric)
    if difference is not None and result.best is not result.plain:
        table.add_row("best - plain", "", _amount(metric, difference, own_unit, signed=True))
    return table
