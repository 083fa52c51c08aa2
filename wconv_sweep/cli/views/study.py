"""Draws studies and data before a launch, for `console`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wconv_sweep.cli.views.cost import (
    expected_json,
    expected_text,
    large,
    memory,
    range_json,
    range_rows,
    unknown_text,
)
from wconv_sweep.evidence.expected_cost import ExpectedCost
from wconv_sweep.study.config import StudyConfig, TrialShape
from wconv_sweep.study.cost_range import CostRange
from wconv_sweep.study.definition_text import (
    budget_text,
    options_text,
    reference_densities_text,
    searched_text,
    training_rows,
)
from wconv_sweep.study.facts import StudyFacts


def print_studies(out: Console, configs: Sequence[StudyConfig]) -> None:
    """Print a table of studies."""
    table = _table("study", "network", "kernel", "data", "recipe", "trials")
    for config in configs:
        table.add_row(
            config.study,
            config.model.name,
            _square(config.kernel_size),
            config.data.name,
            config.recipe.preset or "own",
            str(config.budget.trials),
        )
    out.print(table)


def print_facts(out: Console, facts: StudyFacts, cost: str) -> None:
    """Print the details of one study, with what it will cost in words."""
    for name, value in (_rows(facts) | {"cost": cost}).items():
        out.print(f"{name + ':':<21} {value}".rstrip(), markup=False, soft_wrap=True)


def print_checked(out: Console, right: Sequence[StudyFacts]) -> None:
    """Print a table of valid studies."""
    if not right:
        return
    table = _table("study", "sites", "parameters", "MACs", "memory/GPU")
    for facts in right:
        if facts.network is None:
            table.add_row(facts.config.study, *["-"] * 4)
            continue
        table.add_row(
            facts.config.study,
            str(facts.network.sites),
            f"{facts.network.parameters:,}",
            large(facts.network.macs),
            memory(facts.most_memory_bytes),
        )
    out.print(table)


def cost_text(
    study: Sequence[str],
    trial: TrialShape,
    expected: ExpectedCost | None,
    problem: str | None,
    costs: CostRange | None = None,
) -> str:
    """Return what a study will cost in words.

    Args:
        study: the options that name it.
        trial: the shape of each trial.
        expected: the cost; None: nothing was measured.
        problem: why the storage cannot be asked.
        costs: of the trials, where they differ.
    """
    if problem is not None:
        return f"not known: {problem}"
    if expected is None:
        return unknown_text(study, "CLUSTER", on_gpus=True)
    return expected_text(expected, trial, costs=costs)


def facts_json(facts: StudyFacts, expected: ExpectedCost | None) -> dict[str, Any]:
    """Return the facts of a study as plain data."""
    return {
        "config": facts.config.plain(),
        "network": None if facts.network is None else asdict(facts.network),
        "sample_shape": list(facts.sample_shape),
        "memory_bytes": facts.memory_bytes,
        "cost_range": range_json(facts.costs),
        "expected_cost": expected_json(expected, costs=facts.costs),
    }


@contextmanager
def preparing(out: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows the progress of data preparation on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=out, transient=True, disable=not out.is_terminal
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _rows(facts: StudyFacts) -> dict[str, str]:
    config = facts.config
    bounds = ", ".join(f"[{low:g}, {high:g}]" for low, high in config.search.bounds)
    return {
        "study": config.study,
        "description": config.description,
        **(_network_rows(facts) if facts.network else training_rows(config)),
        "objective": f"{config.direction} {config.objective.metric}",
        "density": f"{bounds}, outermost first, sampler {config.search.sampler.name}, pruner "
        f"{config.search.pruner.name}",
        **({"searched with it": searched_text(config)} if config.search.also else {}),
        **range_rows(facts.costs),
        "reference densities": reference_densities_text(config),
        "budget": budget_text(config),
        **(
            {"memory": f"about {memory(facts.memory_bytes)} per GPU, without data and CUDA's own"}
            if facts.network is not None
            else {}
        ),
    }


def _network_rows(facts: StudyFacts) -> dict[str, str]:
    network = facts.network
    assert network is not None
    config, recipe, optimizer = facts.config, facts.config.recipe, facts.config.recipe.optimizer
    kernels = ", ".join(f"{number} {size}" for size, number in sorted(network.kernels.items()))
    shape = " x ".join(map(str, facts.sample_shape))
    stopping = recipe.early_stopping
    ends = f", ends after {stopping.patience} epoch(s) without a better loss" if stopping else ""
    return {
        "network": f"{config.model.name} {options_text(config.model.options)}".strip(),
        "sites": f"{network.sites} of {_square(config.kernel_size)}; all convolutions: {kernels}",
        **({"left plain": ", ".join(network.left_plain)} if network.left_plain else {}),
        "parameters": f"{network.parameters:,}, of which the density multiplies "
        f"{_share(network.weighted_parameters, network.parameters)}",
        "MACs": f"{large(network.macs)} for a sample of {shape}, "
        f"{_share(network.weighted_macs, network.macs)} of them in sites",
        "data": f"{config.data.name} {options_text(config.data.options)}".strip(),
        "recipe": f"{recipe.preset or 'own'}: {optimizer.name}, lr {optimizer.lr:g}, "
        f"{recipe.lr_schedule.summary}, batch size {recipe.batch_size}, "
        f"{recipe.epochs} epochs{ends}, weights {recipe.init}",
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return table


def _square(kernel_size: int) -> str:
    return f"{kernel_size}x{kernel_size}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
