"""The command `simulate`: what to expect of a study before it costs GPU-hours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.options import DEFAULT_RUNS, Json, Runs, Settings, StorageUrl

if TYPE_CHECKING:
    from rich.console import Console

    from wconv_sweep.simulation.simulated_study import SimulatedStudy


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
    and numbers of workers. Of a study with search.also: how often its claim is right, and what
    is claimed falsely where plain convolution is not tuned, too.

    Example: wconv-sweep simulate --study dncnn_5x5 --plot simulation.png
    """
    from wconv_sweep.cli.views import simulation as simulation_view
    from wconv_sweep.simulation.simulated_study import read_study
    from wconv_sweep.storage.open_storage import choose_url

    if plot is not None:
        simulation_view.check_picture(plot)
    found = read_study(study, choose_url(storage, runs), settings or ())
    many = sorted(workers or (1, 32))
    if found.config.search.also:
        _simulate_sides(found, budget, many, repeats, plot, as_json)
    else:
        _simulate_density(found, budget, many, repeats, plot, as_json)


def _simulate_density(
    found: "SimulatedStudy",
    given: list[int] | None,
    workers: list[int],
    repeats: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import simulation as simulation_view
    from wconv_sweep.simulation.replay import cells, simulate, standard_budgets

    config, out = found.config, _console(as_json)
    budgets = sorted(given or standard_budgets(config))
    with simulation_view.simulating(out) as show:
        outcomes = simulate(
            config, budgets=budgets, workers=workers, repeats=repeats, on_study=show
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


def _simulate_sides(
    found: "SimulatedStudy",
    given: list[int] | None,
    workers: list[int],
    repeats: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import sides_simulation, simulation
    from wconv_sweep.errors import ConfigurationError
    from wconv_sweep.simulation.replay import standard_budgets
    from wconv_sweep.simulation.two_sides import fewest_trials, sides_cells, simulate_sides

    config, out = found.config, _console(as_json)
    if plot is not None:
        raise ConfigurationError(
            f"simulate: --plot {plot} draws searches of the density alone, and study "
            f"{config.study} has search.also. Leave out --plot, or take --json."
        )
    least = fewest_trials(config)
    if given and min(given) < least:
        raise ConfigurationError(
            f"simulate: --budget {min(given)} leaves nothing to search beside the reference "
            f"densities and the confirmation of study {config.study}. Set at least {least}."
        )
    budgets = sorted(given or {max(each, least) for each in standard_budgets(config)})
    with simulation.simulating(out) as show:
        outcomes = simulate_sides(
            config, budgets=budgets, workers=workers, repeats=repeats, on_study=show
        )
    table = sides_cells(outcomes)
    if as_json:
        console.print_json(sides_simulation.sides_json(config, table, found.measured))
        return
    sides_simulation.print_sides(out, config, table, found.measured)


def _console(as_json: bool) -> "Console":
    """Return where progress and tables go: beside what scripts read."""
    from rich.console import Console

    from wconv_sweep.cli import console

    return Console(stderr=True, highlight=False) if as_json else console.console()
