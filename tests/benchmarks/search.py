"""What samplers and ways of naming a density find on made-up surfaces, and what they promise.

Prints Markdown tables: regret of the named density and bias of the promised value for every
sampler, and the trials, so the GPU-hours, that the default takes to be as good as the grids of
the paper. All is in standard deviations of the seed; each cell is a mean over the four surfaces,
`--repeats` studies of each.

The sampler `gp` takes a hundred times as long as the others, and has repeats and workers of its
own.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.sweep.searching import study_of
from wconv_sweep.simulation.replay import NAMED_BY, Cell, NamedBy, Outcome, cells, simulate
from wconv_sweep.study.config import StudyConfig

SAMPLERS = ("random", "qmc", "tpe", "gp", "cmaes", "direct-l")
BLIND = ("random", "qmc")
"""Samplers that propose the same whatever has been found, and when."""
GRIDS = {1: [21], 2: [21, 20]}
"""Points of the paper's grids."""
COARSE = {1: [[8], [11], [15]], 2: [[5, 5], [6, 6], [7, 7], [8, 8]]}
"""Points of smaller grids, to tell what is owed to the sampler and what to the naming."""
CONFIRM = {"candidates": 2, "seeds": 5}
CONFIRMING = 15
"""Trials of the confirmation."""
BUDGETS = {1: 36, 2: 75}
"""Trials of each study, those of the confirmation included."""
CURVES = {
    1: [6, 8, 10, 12, 15, 18, 21, 25, 30, 36, 42],
    2: [15, 20, 25, 30, 35, 40, 45, 50, 60, 75, 90, 120],
}
"""Trials at which the default sampler is looked at on its way."""
SEEDS = (1, 3, 5)
"""Seeds of each density during the search, compared at equal trials."""
REPLICATED = {1: [21, 42], 2: [64, 120]}
"""Trials at which they are compared."""
TARGET = 0.5
"""Regret to be reached, in seed-sigmas."""
RESAMPLES = 2000
"""Of the bootstrap over studies."""

HEAD = """\
| {0} | studies | regret: best run | model | confirmed \
| too much: best run | model | confirmed | intervals right |
|---|---|---|---|---|---|---|---|---|---|"""

Regret = NDArray[np.float64]  # shape (studies, budgets)


def study(sampler: dict[str, Any], dimensions: int, trials: int) -> StudyConfig:
    """Return a study whose plain baseline is in the middle of the bounds."""
    return study_of(sampler, trials=trials, bounds=[[0.5, 1.5]] * dimensions, confirm=CONFIRM)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=50, help="studies of each surface")
    parser.add_argument("--gp-repeats", type=int, default=5, help="the same for gp")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--gp-workers", type=int, nargs="*", default=[8])
    parser.add_argument("--samplers", nargs="*", default=SAMPLERS, choices=SAMPLERS)
    options = parser.parse_args(arguments)
    for dimensions in options.dimensions:
        print_samplers(dimensions, options)
        print_curve(dimensions, options.repeats)
        print_seeds(dimensions, options.repeats)


def print_samplers(dimensions: int, options: argparse.Namespace) -> None:
    """Print regret and bias of every sampler at one budget."""
    budget = BUDGETS[dimensions]
    print(f"\n## {dimensions} coefficient(s), {budget} trials\n")
    print(HEAD.format("sampler | workers"))
    for sampler in options.samplers:
        if sampler == "cmaes" and dimensions == 1:
            continue
        is_gp = sampler == "gp"
        counts = options.gp_workers if is_gp else options.workers
        for workers in counts[:1] if sampler in BLIND else counts:
            started = time.perf_counter()
            found = simulate(
                study({"name": sampler}, dimensions, budget),
                budgets=[budget],
                workers=[workers],
                repeats=options.gp_repeats if is_gp else options.repeats,
            )
            print(row(f"`{sampler}` | {'any' if sampler in BLIND else workers}", cells(found)))
            took_s = time.perf_counter() - started
            print(f"<!-- {sampler}, {workers} workers: {took_s:.0f} s -->", flush=True)


def print_curve(dimensions: int, repeats: int) -> None:
    """Print how the default sampler comes down, and the grid of the paper beside smaller ones."""

    def grid(points: list[int], confirming: int, named_by: Sequence[NamedBy]) -> list[Outcome]:
        config = study({"name": "grid", "points": points}, dimensions, 1)
        trials = len(set(config.grid_points()) | set(config.references().values()))
        return simulate(
            config, budgets=[trials + confirming], workers=[1], repeats=repeats, named_by=named_by
        )

    curve = simulate(
        study({"name": "tpe"}, dimensions, 1),
        budgets=CURVES[dimensions],
        workers=[8],
        repeats=repeats,
        named_by=["observed", "model"],
    )
    coarse = [grid(points, 0, ["observed", "model"]) for points in COARSE[dimensions]]
    paper = grid(GRIDS[dimensions], CONFIRMING, NAMED_BY)
    print(f"\n## {dimensions} coefficient(s), on the way\n")
    print(curve_tables(curve, coarse, paper), flush=True)


def print_seeds(dimensions: int, repeats: int) -> None:
    """Print the regret of the model where each density is trained with several seeds."""
    print(f"\n## {dimensions} coefficient(s), seeds of each density\n")
    print("| trials | seeds | studies | regret: model |\n|---|---|---|---|")
    for seeds in SEEDS:
        config = study_of(
            {"name": "tpe"}, bounds=[[0.5, 1.5]] * dimensions, confirm=CONFIRM, seeds=seeds
        )
        found = simulate(
            config,
            budgets=REPLICATED[dimensions],
            workers=[8],
            repeats=repeats,
            named_by=["model"],
        )
        for cell in cells(found):
            regret = f"{cell.regret:.2f} ± {cell.regret_error:.2f}"
            print(f"| {cell.trials} | {seeds} | {cell.studies} | {regret} |", flush=True)


def curve_tables(
    curve: Sequence[Outcome], coarse: Sequence[Sequence[Outcome]], paper: Sequence[Outcome]
) -> str:
    """Return a table of grids and of the default's way, and how many times fewer trials it takes.

    Args:
        curve: studies of the default at several budgets.
        coarse: those of smaller grids.
        paper: those of the paper's grid.
    """
    trials = next(each.trials for each in paper if each.named_by == "observed")
    lines = [HEAD.format("study | trials"), row(f"the grid of the paper | {trials}", cells(paper))]
    lines += [row(f"a smaller grid | {grid[0].trials}", cells(grid)) for grid in coarse]
    on_the_way = cells(curve)
    budgets = sorted({cell.trials for cell in on_the_way})
    for budget in budgets:
        at = [cell for cell in on_the_way if cell.trials == budget]
        lines.append(row(f"`tpe`, 8 workers | {budget}", at))
    lines += [
        "",
        "| a regret of | is reached with | times fewer than the grid | 95 % interval |",
        "|---|---|---|---|",
    ]
    paper_S = regrets(paper, [trials], "observed")[:, 0]
    curve_SB = regrets(curve, budgets, "model")
    for what, target in ((f"{TARGET}", TARGET), ("the grid by its best run", None)):
        needed, low, high = fewer(curve_SB, budgets, paper_S, target)
        lines.append(
            f"| {what} | {needed:.0f} trials | {trials / needed:.1f} "
            f"| {trials / high:.1f} to {trials / low:.1f} |"
        )
    return "\n".join(lines)


def regrets(outcomes: Sequence[Outcome], budgets: Sequence[int], by: NamedBy) -> Regret:
    """Return the regret of each study at each budget."""
    return np.array(
        [
            [each.regret for each in outcomes if each.trials == budget and each.named_by == by]
            for budget in budgets
        ]
    ).T


def fewer(
    curve_SB: Regret, budgets: Sequence[int], grid_S: Regret, target: float | None
) -> tuple[float, float, float]:
    """Return the trials that a mean regret takes, and their 95 % interval over the studies.

    Args:
        curve_SB: regret of each study at each budget.
        budgets: the trials of the columns.
        grid_S: regret of each study of the grid.
        target: the mean regret to be reached; None: that of the grid.
    """
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        few_SB = curve_SB[random.integers(len(curve_SB), size=len(curve_SB))]
        few_S = grid_S[random.integers(len(grid_S), size=len(grid_S))]
        drawn.append(trials_to(few_SB, budgets, few_S.mean() if target is None else target))
    low, high = np.quantile(drawn, [0.025, 0.975])
    wanted = float(grid_S.mean()) if target is None else target
    return trials_to(curve_SB, budgets, wanted), float(low), float(high)


def trials_to(curve_SB: Regret, budgets: Sequence[int], target: float) -> float:
    """Return the trials at which the mean regret first comes to a target.

    Between two budgets it is taken to fall by a straight line. The first budget if it is there
    already, the last if it never is.
    """
    mean_B = curve_SB.mean(axis=0)
    below = np.flatnonzero(mean_B <= target)
    if not len(below):
        return float(budgets[-1])
    after = int(below[0])
    if after == 0:
        return float(budgets[0])
    share = (mean_B[after - 1] - target) / (mean_B[after - 1] - mean_B[after])
    return float(budgets[after - 1] + share * (budgets[after] - budgets[after - 1]))


def row(head: str, found: Sequence[Cell]) -> str:
    """Return a row of a table: regret, bias and coverage by each way of naming."""
    by = {cell.named_by: cell for cell in found}
    told = [by.get(each) for each in NAMED_BY]
    regret = [f"{cell.regret:.2f} ± {cell.regret_error:.2f}" if cell else "" for cell in told]
    bias = [f"{cell.bias:+.2f} ± {cell.bias_error:.2f}" if cell else "" for cell in told]
    confirmed = by.get("confirmed")
    covered = "" if confirmed is None else f"{confirmed.coverage:.1%}"
    columns = [head, str(found[0].studies), *regret, *bias, covered]
    return f"| {' | '.join(columns)} |"


if __name__ == "__main__":
    main()
