"""What is wrong with a study that no single key shows."""

from typing import get_args

from wconv_jobs import catalog, own_code
from wconv_jobs.kinds import TaskKind
from wconv_sweep.amounts import counted
from wconv_sweep.study.also_problems import also_problems
from wconv_sweep.study.config import MAX_TRIALS, PLAIN, StudyConfig
from wconv_sweep.study.grid import grid_size
from wconv_sweep.study.sampler_by_path import what_is_wrong
from wconv_sweep.study.search_config import GridSpec, NoPrunerSpec, OptunaSpec
from wconv_sweep.study.trainer_problems import trainer_problems


def problems_of(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    """Return what no single key shows, as (key, sentence)."""
    return [*_problems_of(config), *also_problems(config, _problems_of)]


def _problems_of(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    problems: list[tuple[tuple[str, ...], str]] = []
    size, count = config.kernel_size, (config.kernel_size - 1) // 2
    if size % 2 == 0:
        problems.append((("kernel_size",), f"must be odd (it is {size})"))
    elif len(config.search.bounds) != count:
        problems.append(
            (
                ("search", "bounds"),
                f"has {counted(len(config.search.bounds), 'bound')}, but kernel_size {size} takes "
                f"{count} (one [low, high] per ring, outermost first). Give {count}, or set "
                f"kernel_size: {2 * len(config.search.bounds) + 1}.",
            )
        )
    references = config.references()
    for name in config.reference_densities:
        point = references[name]
        if name == PLAIN:
            problems.append(
                (("reference_densities", name), "is always part of a study. Remove it.")
            )
        elif size % 2 and len(point) != count:
            problems.append(
                (
                    ("reference_densities", name),
                    f"has {counted(len(point), 'coefficient')}, but kernel_size {size} takes "
                    f"{count}, outermost first.",
                )
            )
    problems += trainer_problems(config) if config.trainer else _training_problems(config)
    problems += _search_problems(config)
    if config.trial.per_gpu > 1 and config.trial.ranks > 1:
        problems.append(
            (
                ("trial", "per_gpu"),
                f"is {config.trial.per_gpu}, but only trials of one rank share a GPU, and "
                f"trial.ranks is {config.trial.ranks}. Set one of them to 1.",
            )
        )
    return problems


def _training_problems(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    """Return what is wrong with what our own trainer trains."""
    problems: list[tuple[tuple[str, ...], str]] = []
    size = config.kernel_size
    metric = config.objective.metric
    if config.objective.goal is not None:
        text = f"is for a trainer of your own; {metric} knows its goal. Remove it."
        problems.append((("objective", "goal"), text))
    if config.objective.unit is not None:
        text = f"is for a trainer of your own; {metric} knows its unit. Remove it."
        problems.append((("objective", "unit"), text))
    with own_code.folder_added(config.code_folder):
        named = catalog.check_options("models", config.model.name, config.model.options)
        problems += [(("model",), text) for text in named]
        named = catalog.check_options("data", config.data.name, config.data.options)
        problems += [(("data",), text) for text in named]
    problems += _own_code_problems(config)
    if config.model.name in catalog.names("models"):
        default = catalog.default_of("models", config.model.name, "kernel_size")
        of_model = config.model.options.get("kernel_size", default)
        if size % 2 and of_model not in (size, None):
            problems.append(
                (
                    ("model", "options", "kernel_size"),
                    f"is {of_model}, but the density is for kernel_size {size}: no convolution "
                    "would have it. Set both to the same.",
                )
            )
    if config.data.name in catalog.names("data") or config.data.kind:
        kind = catalog.data_kind(config.data.name, config.data.kind)
        metrics, further = catalog.epoch_metrics(kind), catalog.further_metrics(kind)
        if config.objective.metric not in metrics:
            problems.append(
                (
                    ("objective", "metric"),
                    f"is {config.objective.metric}, but data '{config.data.name}' gives "
                    f"{', '.join(metrics)}.",
                )
            )
        for metric in config.recipe.test_metrics:
            if metric not in further:
                known = ", ".join(further) or "no further metrics"
                problems.append(
                    (
                        ("recipe", "test_metrics"),
                        f"has {metric}, but {kind} takes {known}.",
                    )
                )
        if kind == "denoising" and config.recipe.label_smoothing:
            problems.append(
                (
                    ("recipe", "label_smoothing"),
                    f"is {config.recipe.label_smoothing:g}, but data '{config.data.name}' has no "
                    "labels to smooth. Set it to 0.",
                )
            )
    samples = catalog.epoch_samples(config.data.name, config.data.options)
    if samples is not None and config.recipe.batch_size > samples:
        problems.append(
            (
                ("recipe", "batch_size"),
                f"is {config.recipe.batch_size}, but an epoch of data '{config.data.name}' has "
                f"only {samples} samples. Set it to that or less.",
            )
        )
    if config.recipe.batch_size % config.trial.ranks:
        problems.append(
            (
                ("recipe", "batch_size"),
                f"is {config.recipe.batch_size}, which {config.trial.ranks} ranks cannot share "
                f"evenly. Set a multiple of {config.trial.ranks}.",
            )
        )
    return problems


def _own_code_problems(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    problems: list[tuple[tuple[str, ...], str]] = []
    folder, kinds = config.code_folder, " or ".join(get_args(TaskKind))
    if folder is not None and not folder.is_dir():
        problems.append((("code",), f"is {folder}, which is not a folder."))
    if own_code.is_own(config.data.name) and config.data.kind is None:
        text = f"is missing: for data of your own it says which task they are, {kinds}."
        problems.append((("data", "kind"), text))
    if not own_code.is_own(config.data.name) and config.data.kind is not None:
        text = f"is for data of your own; '{config.data.name}' knows its task. Leave it out."
        problems.append((("data", "kind"), text))
    return problems


def _search_problems(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    problems: list[tuple[tuple[str, ...], str]] = []
    search, coefficients = config.search, len(config.search.bounds)
    if search.sampler.name == "cmaes" and coefficients == 1 and not search.also:
        problems.append(
            (
                ("search", "sampler", "name"),
                "is cmaes, which takes two coefficients or more, but kernel_size 3 has one. Take "
                "tpe or gp.",
            )
        )
    if isinstance(search.sampler, OptunaSpec):
        found = what_is_wrong(search.sampler)
        problems += [(("search", "sampler", key), text) for key, text in found]
    if search.warm_start and isinstance(search.sampler, GridSpec):
        text = "is for a search that continues from there; a grid has its own points. Remove it."
        problems.append((("search", "warm_start"), text))
    if config.study in search.warm_start:
        problems.append((("search", "warm_start"), "names the study itself. Remove it."))
    if isinstance(search.sampler, GridSpec) and not search.also:
        problems += _grid_problems(config, search.sampler)
        if search.stop_when is not None:
            text = "ends a search early, but a grid trains every point. Remove it."
            problems.append((("search", "stop_when"), text))
    else:
        problems += _budget_problems(config)
    if config.confirm and config.confirm.candidates > 1 + len(config.references()):
        problems.append(
            (
                ("confirm", "candidates"),
                f"is {config.confirm.candidates}, but beside the best expected and the best "
                f"observed there are {_densities(len(config.reference_densities))} to compare. "
                f"Set at most {1 + len(config.references())}.",
            )
        )
    pruner, epochs = search.pruner, config.recipe.epochs
    if not isinstance(pruner, NoPrunerSpec) and pruner.first_epoch >= epochs:
        problems.append(
            (
                ("search", "pruner"),
                f"{pruner.name} may stop a trial after epoch {pruner.first_epoch} and later, but "
                f"never after the last, and recipe.epochs is {epochs}: it would stop none. Set "
                f"name: none, or the epochs of the pruner to less.",
            )
        )
    return problems


def _budget_problems(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    seeds, left = config.search.seeds, config.search_trials
    least = config.budget.trials - left
    if left < 0:
        references = len(config.references()) * seeds
        confirm = f" and the confirmation {config.confirm_trials}" if config.confirm else ""
        text = (
            f"is {config.budget.trials}, but the reference densities take {references}{confirm}. "
            f"Set at least {least}."
        )
    elif left % seeds:
        fewer = config.budget.trials - left % seeds
        text = (
            f"leaves {left} for the search, which {seeds} seeds of each density cannot share "
            f"evenly. Set {fewer} or {fewer + seeds}."
        )
    else:
        return []
    return [(("budget", "trials"), text)]


def _grid_problems(config: StudyConfig, grid: GridSpec) -> list[tuple[tuple[str, ...], str]]:
    search, trials = config.search, config.budget.trials
    coefficients, key = len(search.bounds), "step" if grid.points is None else "points"
    given = len(grid.points or grid.step or [])
    if given != coefficients:
        return [
            (
                ("search", "sampler", key),
                f"has {counted(given, 'value')}, but search.bounds has {coefficients}. Give one "
                "per coefficient, outermost first.",
            )
        ]
    size = grid_size(grid, search.bounds)
    if size > MAX_TRIALS:
        text = f"makes {size} points, but a study has at most {MAX_TRIALS} trials. Take fewer."
        return [(("search", "sampler", key), text)]
    points = len(config.grid_points())
    whole = trials - config.search_trials + points * search.seeds
    if trials == whole:
        return []
    references = _densities(len(config.references()))
    common = f" ({size}, less {size - points} among the references)" if size > points else ""
    times = f", {search.seeds} times each," if search.seeds > 1 else ""
    confirm = f" and a confirmation of {config.confirm_trials}" if config.confirm else ""
    return [
        (
            ("budget", "trials"),
            f"is {trials}, but {references} and {points} grid points{common}{times}{confirm} "
            f"make {whole}. Set {whole}.",
        )
    ]


def _densities(number: int) -> str:
    return "1 reference density" if number == 1 else f"{number} reference densities"
