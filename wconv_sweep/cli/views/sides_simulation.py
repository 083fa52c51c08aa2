"""Shows what a simulation says of a search that tunes both sides, or one."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from wconv_sweep.cli.views.simulation import cells_json, noise_text
from wconv_sweep.simulation.simulated_study import Measured
from wconv_sweep.simulation.two_sides import GAINS, WEIGHTED_ALONE, SidesCell
from wconv_sweep.study.config import StudyConfig


def print_sides(
    out: Console, config: StudyConfig, cells: Sequence[SidesCell], measured: Measured | None
) -> None:
    """Print a table of what the claims are worth, in words below it."""
    hours = measured is not None and measured.trial_h > 0
    unit = "seed-sigma" if measured is None else config.objective.metric
    scale = 1.0 if measured is None else measured.noise_sd
    table = Table(box=None, pad_edge=False)
    head = ["workers", "trials", *(["GPU-h"] if hours else []), "tuned"]
    names = ["regret: plain", "weighted", "gain seen", "95 % intervals right"]
    chances = [f"better at {gain:g}" for gain in GAINS]
    for name in [*head, *names, *chances]:
        table.add_column(name, justify="left" if name == "tuned" else "right")
    for cell in cells:
        spent = [f"{cell.trials * measured.trial_h:.1f}"] if measured and hours else []
        table.add_row(
            str(cell.workers),
            str(cell.trials),
            *spent,
            cell.tuned,
            f"{cell.plain_regret * scale:.3g}",
            f"{cell.weighted_regret * scale:.3g}",
            f"{cell.measured * scale:+.3g}",
            f"{cell.held:.0%} +- {cell.held_error:.0%}",
            *(f"{share:.0%}" for share in cell.claimed),
        )
    out.print(table)
    gains = ", ".join(f"{gain:g}" for gain in GAINS)
    for line in (
        f"Regret, and the gain that is seen where there is none, in {unit}; the last columns are "
        f'the share of studies that claim "better" where the true gain is {gains} seed-sigma.',
        f'"{WEIGHTED_ALONE}": plain convolution stays at the study\'s own values. What is claimed '
        "at 0 is false.",
        f"Means over {min((cell.studies for cell in cells), default=0)} studies or more.",
        noise_text(config, measured),
    ):
        out.print(line, soft_wrap=True, markup=False)


def sides_json(
    config: StudyConfig, cells: Sequence[SidesCell], measured: Measured | None
) -> dict[str, Any]:
    """Return the same as plain data, in seed-sigmas."""
    return cells_json(config, cells, measured) | {"gains": list(GAINS)}
