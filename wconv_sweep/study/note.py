"""The note that the Optuna dashboard shows beside a study."""

import json

from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.definition_text import (
    also_text,
    bounds_text,
    budget_text,
    recipe_text,
    reference_densities_text,
    training_rows,
)

_OPERATOR = "[weighted convolution](https://arxiv.org/abs/2505.24558)"


def study_note(config: StudyConfig) -> str:
    """Return the note of a study as Markdown."""
    names = ", ".join(f"`density_{n}`" for n in range(1, len(config.search.bounds) + 1))
    rows = {
        **_training_rows(config),
        "objective": f"{config.direction} `{config.objective.metric}` of the validation set",
        "density": f"{names}, outermost first, in {bounds_text(config)}; dimensionless",
        **({"searched together with it": also_text(config)} if config.search.also else {}),
        "reference densities": reference_densities_text(config),
        "budget": budget_text(config),
    }
    lines = [
        f"# {config.study}",
        "",
        config.description,
        "",
        f"Which density of the {_OPERATOR} is best here? `density` of ones is plain convolution.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {text.strip().replace('|', '&#124;')} |" for name, text in rows.items()),
        "",
        "The value of a trial comes from one training run. Trial attributes: stage, label, arm, "
        "seed_index (trials of one index share initial weights, data order and noise), "
        "gpu_hours, host, metrics of the validation set and, as `test_...`, of the test set.",
        "",
    ]
    return "\n".join(lines)


def _training_rows(config: StudyConfig) -> dict[str, str]:
    if config.trainer is not None:
        return {name: f"`{text}`" for name, text in training_rows(config).items()}
    return {
        "network": f"`{config.model.name}` {_options(config.model.options)}",
        "data": f"`{config.data.name}` {_options(config.data.options)}",
        "recipe": recipe_text(config),
    }


def _options(options: object) -> str:
    text = json.dumps(options)
    return "" if text == "{}" else f"`{text}`"
