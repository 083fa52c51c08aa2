"""What samplers and ways of naming a density find on made-up surfaces, and what they promise.

Prints Markdown tables: regret of the named density and bias of the promised value for every
sampler, and the trials that bring the regret below half a seed-sigma, against the grids of the
paper with the best run named. All is in standard deviations of the seed; each cell is a mean over
the four surfaces, `--repeats` studies of each.

The sampler `gp` takes a hundred times as long as the others, and has repeats and workers of its
own.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

from tests.sweep.searching import study_of
from wconv_sweep.simulation.simulation import Cell, cells, simulate
from wconv_sweep.study.config import StudyConfig

SAMPLERS = ("random", "qmc", "tpe", "gp", "cmaes", "direct-l")
GRIDS = {1: [21], 2: [21, 20]}
"""Points of the paper's grids."""
BUDGETS = {1: 36, 2: 75}
"""Trials of each study, the 15 of the confirmation included."""
CURVES = {1: [10, 15, 21, 30, 42], 2: [15, 30, 45, 60, 90, 120]}
"""Trials at which the default sampler is looked at on its way."""
TARGET = 0.5
"""Regret to be reached, in seed-sigmas."""


def study(sampler: dict[str, Any], dimensions: int, trials: int) -> StudyConfig:
    """Return a study whose plain baseline is in the middle of the bounds."""
    confirm = {"candidates": 2, "seeds": 5}
    return study_of(sampler, trials=trials, bounds=[[0.5, 1.5]] * dimensions, confirm=confirm)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=50, help="studies of each surface")
    parser.add_argument("--gp-repeats", type=int, default=13, help="the same for gp")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--gp-workers", type=int, nargs="*", default=[8])
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    options = parser.parse_args(arguments)
    for dimensions in options.dimensions:
        print_ways(dimensions, options)
        print_curve(dimensions, options.repeats)


def print_ways(dimensions: int, options: argparse.Namespace) -> None:
    """Print regret and bias of every sampler at one budget."""
    budget = BUDGETS[dimensions]
    print(f"\n### {dimensions} coefficient(s), {budget} trials\n")
    print("| sampler | workers | studies | named by | regret | promised too much | covered |")
    print("|---|---|---|---|---|---|---|")
    for sampler in options.samplers:
        if sampler == "cmaes" and dimensions == 1:
            continue
        is_gp = sampler == "gp"
        counts = options.gp_workers if is_gp else options.workers
        # These propose the same whatever has been found, and when.
        for workers in counts[:1] if sampler in ("random", "qmc") else counts:
            started = time.perf_counter()
            found = cells(
                simulate(
                    study({"name": sampler}, dimensions, budget),
                    budgets=[budget],
                    workers=[workers],
                    repeats=options.gp_repeats if is_gp else options.repeats,
                )
            )
            for cell in found:
                print(row(sampler, cell), flush=True)
            took_s = time.perf_counter() - started
            print(f"<!-- {sampler}, {workers} workers: {took_s:.0f} s -->", flush=True)


def print_curve(dimensions: int, repeats: int) -> None:
    """Print how the default sampler comes down, and the grid of the paper."""
    points = GRIDS[dimensions]
    size = study({"name": "grid", "points": points}, dimensions, 1)
    trials = len(set(size.grid_points()) | set(size.fixed_points().values()))
    print(f"\n### {dimensions} coefficient(s), the way to a regret of {TARGET}\n")
    print("| sampler | workers | studies | trials | named by | regret | promised too much |")
    print("|---|---|---|---|---|---|---|")
    grid = cells(
        simulate(size, budgets=[trials], workers=[1], repeats=repeats, named_by=["observed"])
    )
    for cell in grid:
        print(curve_row("grid", cell), flush=True)
    curve = cells(
        simulate(
            study({"name": "tpe"}, dimensions, 1),
            budgets=CURVES[dimensions],
            workers=[8],
            repeats=repeats,
            named_by=["observed", "model"],
        )
    )
    for cell in curve:
        print(curve_row("tpe", cell), flush=True)
    reached = first_below(curve, TARGET)
    as_good = first_below(curve, grid[0].regret)
    print(f"\nThe grid takes {trials} trials and comes to {grid[0].regret:.2f}.", flush=True)
    for what, number in ((TARGET, reached), (round(grid[0].regret, 2), as_good)):
        told = "is not reached" if number is None else f"takes {number} trials"
        factor = "" if number is None else f", {trials / number:.1f} times fewer than the grid"
        print(f"A regret of {what} {told} with tpe and the model{factor}.", flush=True)


def first_below(curve: Sequence[Cell], regret: float) -> int | None:
    """Return the first budget at which the model's density is as good."""
    return min(
        (each.trials for each in curve if each.named_by == "model" and each.regret <= regret),
        default=None,
    )


def row(sampler: str, cell: Cell) -> str:
    """Return a row of the comparison."""
    covered = "" if cell.coverage is None else f"{cell.coverage:.0%}"
    return (
        f"| {sampler} | {'any' if sampler in ('random', 'qmc') else cell.workers} "
        f"| {cell.studies} | {cell.named_by} "
        f"| {cell.regret:.2f} ± {cell.regret_error:.2f} "
        f"| {cell.bias:+.2f} ± {cell.bias_error:.2f} | {covered} |"
    )


def curve_row(sampler: str, cell: Cell) -> str:
    """Return a row of the way down."""
    return (
        f"| {sampler} | {cell.workers} | {cell.studies} | {cell.trials} | {cell.named_by} "
        f"| {cell.regret:.2f} ± {cell.regret_error:.2f} "
        f"| {cell.bias:+.2f} ± {cell.bias_error:.2f} |"
    )


if __name__ == "__main__":
    main()
