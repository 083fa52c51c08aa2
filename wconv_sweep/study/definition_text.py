"""What defines a study, in the words in which every page and table says it."""

import math
from collections.abc import Mapping
from typing import Any

from wconv_sweep.amounts import with_settings
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import SearchArm


def recipe_text(config: StudyConfig) -> str:
    """Return how the networks of a study are trained."""
    recipe = config.recipe
    return (
        f"{recipe.preset or 'own'}: {recipe.optimizer.name}, lr {recipe.optimizer.lr:g}, "
        f"{recipe.lr_schedule.summary}, batch size {recipe.batch_size}, {recipe.epochs} epochs, "
        f"weights {recipe.init}, {recipe.dtype}"
    )


def budget_text(config: StudyConfig) -> str:
    """Return the number of trials and where each is trained."""
    trial = config.trial
    ranks = f"{config.budget.trials} trials on {trial.ranks} rank(s) each"
    return f"{ranks}, {trial.per_gpu} of them on each GPU" if trial.per_gpu > 1 else ranks


def options_text(options: Mapping[str, Any]) -> str:
    """Return keyword arguments."""
    return " ".join(f"{name}={value}" for name, value in options.items())


def training_rows(config: StudyConfig) -> dict[str, str]:
    """Return what trains, by what it is: network, data and recipe, or a program of the user's."""
    trainer = config.trainer
    if trainer is None:
        return {
            "network": f"{config.model.name} {options_text(config.model.options)}".strip(),
            "data": f"{config.data.name} {options_text(config.data.options)}".strip(),
            "recipe": recipe_text(config),
        }
    python = [trainer.python] if isinstance(trainer.python, str) else trainer.python
    return {
        "program": " ".join([trainer.name, *trainer.arguments]),
        "options": options_text(trainer.options) or "none",
        "reports": str(trainer.reports),
        **({"python": " ".join(python)} if python else {}),
    }


def bounds_text(config: StudyConfig) -> str:
    """Return the bounds of each coefficient, outermost first."""
    return ", ".join(f"[{low:g}, {high:g}]" for low, high in config.search.bounds)


def also_text(config: StudyConfig) -> str:
    """Return the keys that are searched together with the density, with their values."""
    text = "; ".join(f"{key} {spec.text}" for key, spec in config.search.also.items())
    return text if config.has_two_arms else f"{text}; for weighted convolution alone"


def searched_text(config: StudyConfig) -> str:
    """Return the same with the size of the space, and the number of proposals in it."""
    arms = len(SearchArm) if config.has_two_arms else 1
    proposals = config.search_trials // (arms * config.search.seeds)
    sizes = [spec.size for spec in config.search.also.values()]
    points = math.prod(size for size in sizes if size is not None)
    finite = f" x {points} combinations" if points > 1 else ""
    ranges = sum(size is None for size in sizes)
    space = f"{ranges} {'range' if ranges == 1 else 'ranges'}{finite}"
    whom = " for each side" if config.has_two_arms else ""
    return f"{also_text(config)} ({space}); {proposals} proposals{whom}"


def reference_densities_text(config: StudyConfig) -> str:
    """Return the densities that are trained in any case, as the study file gives them."""
    given = config.reference_settings()
    return ", ".join(
        f"{name} ({', '.join(f'{value:g}' for value in density)})"
        f"{with_settings(given.get(name, {}).items())}"
        for name, density in config.references().items()
    )


def sites_text(config: StudyConfig) -> str:
    """Return which convolutions of the kernel size the density scales."""
    include, exclude = config.sites.include, config.sites.exclude
    wanted = "all of that size" if include is None else f"only {', '.join(include) or 'none'}"
    return f"{wanted}, without {', '.join(exclude)}" if exclude else wanted
