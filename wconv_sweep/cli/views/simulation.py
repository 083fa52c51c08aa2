"""Shows the outcome of a simulation: as a table, as plain data and as a figure."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.simulation.replay import NAMED_BY, Cell
from wconv_sweep.simulation.simulated_study import Measured
from wconv_sweep.simulation.two_sides import SidesCell
from wconv_sweep.study.config import StudyConfig


def print_cells(
    out: Console, config: StudyConfig, cells: Sequence[Cell], measured: Measured | None
) -> None:
    """Print a table of what to expect."""
    metric = config.objective.metric
    unit = "seed-sigma" if measured is None else metric
    scale = 1.0 if measured is None else measured.noise_sd
    hours = measured is not None and measured.trial_h > 0
    head = ["workers", "trials", *(["GPU-h"] if hours else []), "selected by"]
    table = Table(box=None, pad_edge=False)
    for name in [*head, f"regret, {unit}", f"optimism, {unit}", "95 % intervals right"]:
        table.add_column(name, justify="left" if name == "selected by" else "right")
    for cell in cells:
        spent = [f"{cell.trials * measured.trial_h:.1f}"] if measured and hours else []
        table.add_row(
            str(cell.workers),
            str(cell.trials),
            *spent,
            cell.named_by,
            f"{cell.regret * scale:.3g} +- {cell.regret_error * scale:.1g}",
            f"{cell.bias * scale:+.3g} +- {cell.bias_error * scale:.1g}",
            "" if cell.coverage is None else f"{cell.coverage:.0%}",
        )
    out.print(table)
    out.print(
        f"+- is the standard error of the mean over {min(cell.studies for cell in cells)} studies "
        "or more; four times the --repeats halve it.",
        soft_wrap=True,
    )
    out.print(noise_text(config, measured), soft_wrap=True)


def noise_text(config: StudyConfig, measured: Measured | None) -> str:
    """Return what the unit of a simulation is, in a sentence."""
    metric = config.objective.metric
    if measured is not None:
        return f"The standard deviation of {metric} between seeds: {measured.noise_sd:.3g}."
    return (
        f"A seed-sigma is the standard deviation of {metric} between seeds. The study has not "
        "run, so it is not known yet."
    )


def cells_json(
    config: StudyConfig, cells: Sequence[Cell | SidesCell], measured: Measured | None
) -> dict[str, Any]:
    """Return what to expect as plain data; regret, bias and gains are in seed-sigmas."""
    return {
        "study": config.study,
        "sampler": config.search.sampler.name,
        "metric": config.objective.metric,
        "measured": None if measured is None else asdict(measured),
        "cells": [asdict(cell) for cell in cells],
    }


def check_picture(path: Path) -> None:
    """Refuse a figure that cannot be written, before any time is spent.

    Raises:
        ConfigurationError: its format is unknown, or its folder does not exist.
    """
    from matplotlib.figure import Figure  # takes half a second

    formats = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".") not in formats:
        raise ConfigurationError(
            f"simulate: --plot {path} has no known format. Choose a name that ends in "
            f"{', '.join(formats)}."
        )
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(
            f"simulate: the folder of --plot {path} does not exist. Create it, or choose "
            "another file."
        )


def save_picture(
    path: Path, config: StudyConfig, cells: Sequence[Cell], measured: Measured | None
) -> None:
    """Write a figure: regret and bias against the trials, a line for each number of workers.

    Args:
        path: of the file; its ending says the format.
        config: the study.
        cells: what to expect.
        measured: of the study, if it has run.
    """
    from matplotlib.figure import Figure  # takes half a second

    unit = "seed-sigma" if measured is None else config.objective.metric
    scale = 1.0 if measured is None else measured.noise_sd
    shown = [by for by in NAMED_BY if any(cell.named_by == by for cell in cells)]
    figure = Figure(figsize=(3.6 * len(shown), 6), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for column, by in enumerate(shown):
        for workers in sorted({cell.workers for cell in cells}):
            line = [cell for cell in cells if cell.named_by == by and cell.workers == workers]
            trials = [cell.trials for cell in line]
            for row, (values, errors) in enumerate(
                (
                    ([each.regret for each in line], [each.regret_error for each in line]),
                    ([each.bias for each in line], [each.bias_error for each in line]),
                )
            ):
                axes[row, column].errorbar(
                    trials,
                    [scale * value for value in values],
                    [scale * error for error in errors],
                    marker="o",
                    capsize=3,
                    label=f"{workers} worker{'s' if workers > 1 else ''}",
                )
        axes[0, column].set_title(f"selected by: {by}")
        axes[1, column].set_xlabel("trials")
        axes[1, column].axhline(0.0, color="gray", linewidth=0.8)
    axes[0, 0].set_ylabel(f"regret, {unit}")
    axes[0, 0].set_ylim(bottom=0.0)
    axes[1, 0].set_ylabel(f"optimism, {unit}")
    axes[0, -1].legend()
    figure.suptitle(f"{config.study}, sampler {config.search.sampler.name}, simulated")
    figure.savefig(path)


@contextmanager
def simulating(out: Console) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows the progress of a simulation on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=out, transient=True, disable=not out.is_terminal
    ) as bar:
        task = bar.add_task("studies", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
