"""The command `simulate`: what a study can be expected to find, before it costs GPU-hours."""

from pathlib import Path
from typing import Annotated

import typer

from wconv_sweep.cli.options import DEFAULT_RUNS, Json, Runs, Settings, StorageUrl


def simulate_command(
    study: Annotated[
        str,
        typer.Option(
            help="A study that was launched, a shipped one by name, or a file ending in .yaml."
        ),
    ],
    budget: Annotated[
        list[int] | None,
        typer.Option(
            min=2,
            help="Trials, reference densities and confirmation included; repeatable. If left out: "
            "half the study's, the study's and twice as many.",
        ),
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Trials at the same time; repeatable. If left out: 1 and 32."),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=2,
            help="Studies of each of the 4 surfaces and number of workers; the standard errors "
            "shown fall with their square root.",
        ),
    ] = 3,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture to this file, e.g. simulation.png.")
    ] = None,
    settings: Settings = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Try a study's search on made-up surfaces, in seconds and without training.

    Shows how far the density that is named will be from the best, and how much the study will
    promise too much, for several budgets and numbers of workers.

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
        out.print(f"The picture: {plot}", markup=False, soft_wrap=True)
