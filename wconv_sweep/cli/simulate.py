"""The command `simulate`: what to expect of a study before it costs GPU-hours."""

from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.options import DEFAULT_RUNS, Json, Runs, Settings, StorageUrl


def simulate_command(
    study: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A study that was launched, a shipped one, or a file ending in .yaml.",
        ),
    ],
    budget: Annotated[
        list[int] | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Trials, including reference densities and confirmation; repeatable (default: "
            "half the study's budget, the budget, and twice the budget).",
        ),
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(
            min=1, metavar="N", help="Trials at the same time; repeatable (default: 1 and 32)."
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=2,
            metavar="N",
            help="Simulated studies per surface and number of workers; the standard errors fall "
            "with the square root.",
        ),
    ] = 3,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File for a figure, e.g. simulation.png."),
    ] = None,
    settings: Settings = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Predict what a study will find, without training.

    Runs its search on synthetic surfaces, in seconds. Shows how far the selected density is from
    the best one, and how optimistic the study is (predicted minus true gain), for several budgets
    and numbers of workers.

    Example: wconv-sweep simulate --study dncnn_5x5 --plot simulation.png
    """
    from rich.console import Console

    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import simulation as simulation_view
    from wconv_sweep.simulation.replay import cells, simulate, standard_budgets
    from wconv_sweep.simulation.simulated_study import read_study
    from wconv_sweep.storage.open_storage import choose_url

    if plot is not None:
        simulation_view.check_picture(plot)
    found = read_study(study, choose_url(storage, runs), settings or ())
    config = found.config
    out = Console(stderr=True, highlight=False) if as_json else console.console()
    with simulation_view.simulating(out) as show:
        outcomes = simulate(
            config,
            budgets=sorted(budget or standard_budgets(config)),
            workers=sorted(workers or (1, 32)),
            repeats=repeats,
            on_study=show,
        )
    table = cells(outcomes)
    if plot is not None:
        simulation_view.save_picture(plot, config, table, found.measured)
    if as_json:
        console.print_json(simulation_view.cells_json(config, table, found.measured))
        return
    simulation_view.print_cells(out, config, table, found.measured)
    if plot is not None:
        out.print(f"Figure: {plot}", markup=False, soft_wrap=True)
