"""The note that the Optuna dashboard shows beside a study."""

import json

from wconv_sweep.study.config import StudyConfig

_OPERATOR = "[weighted convolution](https://arxiv.org/abs/2505.24558)"


def study_note(config: StudyConfig) -> str:
    """Return the note of a study as Markdown."""
    recipe = config.recipe
    bounds = ", ".join(f"[{low:g}, {high:g}]" for low, high in config.search.bounds)
    names = ", ".join(f"`density_{n}`" for n in range(1, len(config.search.bounds) + 1))
    fixed = ", ".join(
        f"{name} ({', '.join(f'{value:g}' for value in point)})"
        for name, point in config.fixed_points().items()
    )
    rows = {
        "network": f"`{config.model.name}` {_options(config.model.options)}",
        "data": f"`{config.data.name}` {_options(config.data.options)}",
        "recipe": f"{recipe.preset or 'own'}: {recipe.optimizer.name}, lr {recipe.optimizer.lr:g},"
        f" {recipe.lr_schedule.summary}, batch size {recipe.batch_size}, {recipe.epochs} epochs",
        "objective": f"{config.direction} `{config.objective.metric}` of the validation set",
        "density": f"{names}, outermost first, in {bounds}; dimensionless",
        "fixed points": fixed,
        "budget": f"{config.budget.trials} trials on {config.trial.ranks} rank(s) each",
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
        "The value of a trial is that of one training run. Trial attributes: stage and label, "
        "seed_index (trials of one index share initial weights, data order and noise), "
        "gpu_hours, host, metrics of the validation set and, as `test_...`, of the test set.",
        "",
    ]
    return "\n".join(lines)


def _options(options: object) -> str:
    text = json.dumps(options)
    return "" if text == "{}" else f"`{text}`"
