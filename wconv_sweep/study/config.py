"""A study file: one architecture, kernel size and recipe, and the densities to try."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from wconv_jobs import catalog, own_code
from wconv_jobs.kinds import KINDS
from wconv_jobs.spec import DataSpec, ModelSpec, RecipeSpec, Spec
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study import resources
from wconv_sweep.study.grid import grid_points, grid_size
from wconv_sweep.study.optuna_samplers import what_is_wrong
from wconv_sweep.study.recipes import fill_in_recipe
from wconv_sweep.study.search_config import (
    ConfirmSpec,
    GridSpec,
    Name,
    NoPrunerSpec,
    OptunaSpec,
    SearchSpec,
)
from wconv_sweep.study.settings import apply_settings
from wconv_sweep.study.smoke import shrink
from wconv_sweep.yaml_files import Document, read_document, validate

_FOLDERS = {"folder", "cache_folder"}

MAX_TRIALS = 100_000

MAY_CHANGE = (("budget", "trials"), ("budget", "gpu_hours"), ("description",), ("code",))
"""Keys of a study that another launch may change; the budgets may only grow."""

PLAIN = "plain"
"""Label of the plain baseline, the density of ones, which every study trains first."""


class ObjectiveSpec(Spec):
    """What the search optimises."""

    metric: str
    """Metric of the validation part, a module of `wconv_jobs.metrics`, which says whether more is
    better."""


class BudgetSpec(Spec):
    """How much is spent."""

    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)]
    """Slots of the study, fixed points, those of a grid and of the confirmation included."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Broken attempts after which a slot fails; interruptions are free."""
    breaker_failures: Annotated[int, Field(ge=1)] = 3
    """Equal failures (same exception, same place) that stop the whole study."""
    gpu_hours: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """GPU-hours, of all GPUs that pilots hold, that no further trial may pass; null: no limit."""


class TrialShape(Spec):
    """The processes of one trial."""

    ranks: Annotated[int, Field(ge=1)] = 1
    """DistributedDataParallel processes, one GPU each where there are GPUs."""
    threads_per_rank: Annotated[int, Field(ge=1)] = 1
    """CPU threads of each rank."""


class StudyConfig(Spec):
    """Everything that defines a study; the cluster it runs on is not part of it."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this file format."""
    study: Name
    description: str = ""
    code: Annotated[str, Field(min_length=1)] | None = None
    """Folder of the modules that `model.name` and `data.name` name as `package.module:function`,
    relative to this file; null: they are installed."""
    kernel_size: Annotated[int, Field(ge=3)]
    """Side of the kernels on which the density acts: odd, 3 takes one coefficient, 5 takes two."""
    model: ModelSpec
    data: DataSpec
    recipe: RecipeSpec
    objective: ObjectiveSpec
    search: SearchSpec
    fixed: dict[Name, Annotated[list[FiniteFloat], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Named densities trained beside the search, e.g. a published best one."""
    confirm: ConfirmSpec | None = None
    """Trials on fresh seeds that end the study; null names a density that nobody has confirmed."""
    budget: BudgetSpec
    trial: TrialShape = TrialShape()
    seed: Annotated[int, Field(ge=0)] = 0
    """Source of initial weights, data order and noise, the same for every density."""

    def digest(self) -> str:
        """Return the hash that identifies the study's definition, `MAY_CHANGE` left out."""
        plain = self.plain()
        for section, *key in MAY_CHANGE:
            if key:
                del plain[section][key[0]]
            else:
                del plain[section]
        text = json.dumps(plain, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """Return the definition as plain data, with defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def code_folder(self) -> Path | None:
        """Folder of the user's modules, absolute once the study is loaded."""
        return Path(self.code) if self.code else None

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Whether more or less of the objective is better."""
        return catalog.metric_goal(self.objective.metric)

    @property
    def search_trials(self) -> int:
        """Slots of the budget that are left for the search, after fixed points and confirmation.

        A grid has its own number.
        """
        fixed = len(self.fixed_points()) * self.search.replicates
        return self.budget.trials - fixed - (self.confirm.trials if self.confirm else 0)

    def fixed_points(self) -> dict[str, tuple[float, ...]]:
        """Return the densities that are trained in any case, the plain baseline first."""
        ones = (1.0,) * len(self.search.bounds)
        return {PLAIN: ones} | {name: tuple(point) for name, point in self.fixed.items()}

    def grid_points(self) -> list[tuple[float, ...]]:
        """Return the densities of a grid in their order, none for other samplers.

        Those that are fixed points are left out: the same density would be trained twice, to the
        same numbers.
        """
        search, fixed = self.search, set(self.fixed_points().values())
        if not isinstance(search.sampler, GridSpec):
            return []
        return [each for each in grid_points(search.sampler, search.bounds) if each not in fixed]


def load_study(
    wanted: str, *, settings: Sequence[str] = (), smoke_folder: Path | None = None
) -> StudyConfig:
    """Return a study by shipped name or by the path of a file.

    Args:
        wanted: name or path.
        settings: changes of single keys, see `wconv_sweep.study.settings`.
        smoke_folder: shrinks the study, see `wconv_sweep.study.smoke`; gets made-up data.

    Raises:
        ConfigurationError: it does not exist or is wrong; every problem is named.
    """
    path, name = resources.find("wconv_studies", "study", wanted)
    document = apply_settings(read_document(path, name), StudyConfig, settings)
    code = document.get(("code",))
    if isinstance(code, str) and code:
        origin = document.origin(("code",)) or f"{name}:{document.line(('code',))}"
        folder = (path.parent / Path(code).expanduser()).resolve()
        document = document.with_value(("code",), str(folder), origin)
    if smoke_folder is not None:
        check_study(document)  # shrinking would hide what is wrong with the study
        document = shrink(document, smoke_folder)
    return check_study(document)


def check_study(document: Document) -> StudyConfig:
    """Return the study that a document defines, with its recipe filled in.

    Raises:
        ConfigurationError: with every problem found.
    """
    document = fill_in_recipe(document)
    config = validate(document, StudyConfig)
    problems = [document.problem(location, text) for location, text in _problems(config)]
    if problems:
        raise ConfigurationError(problems)
    return config


def locate_data(config: StudyConfig, environment: Mapping[str, str] = os.environ) -> StudyConfig:
    """Return the study with the environment variables in its data's folders filled in.

    Jobs may start with another environment, so the paths of a launched study are written out.

    Args:
        config: the study.
        environment: where `$WCONV_SWEEP_DATA` in `folder: $WCONV_SWEEP_DATA` is looked up.

    Raises:
        ConfigurationError: a variable is not set, or empty.
    """
    options = dict(config.data.options)
    filled = {name: value for name, value in environment.items() if value}
    problems = []
    for option in _FOLDERS & options.keys():
        text = str(options[option])
        try:
            options[option] = Template(text).substitute(filled)
        except KeyError as error:
            variable = error.args[0]
            state = "is empty." if variable in environment else "is not set."
            problems.append(
                f"study {config.study}: data.options.{option} is {text}, but {variable} "
                f"{state} Write `export {variable}=FOLDER` with the folder of your data, or use "
                f"--set data.options.{option}=FOLDER."
            )
        except ValueError:
            problems.append(
                f"study {config.study}: data.options.{option} is {text}, which holds a $ that "
                "names no variable. Write $$ for a $ of its own."
            )
    if problems:
        raise ConfigurationError(sorted(problems))
    data = config.data.model_copy(update={"options": options})
    return config.model_copy(update={"data": data})


def config_of(content: str) -> StudyConfig:
    """Return the definition that a storage holds as JSON."""
    return StudyConfig.model_validate_json(content)


def _problems(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    """Return what no single key shows, as (key, sentence)."""
    problems: list[tuple[tuple[str, ...], str]] = []
    size, count = config.kernel_size, (config.kernel_size - 1) // 2
    if size % 2 == 0:
        problems.append((("kernel_size",), f"must be odd (it is {size})"))
    elif len(config.search.bounds) != count:
        problems.append(
            (
                ("search", "bounds"),
                f"has {_count(len(config.search.bounds), 'bound')}, but kernel_size {size} takes "
                f"{count} (one [low, high] per ring, outermost first). Give {count}, or set "
                f"kernel_size: {2 * len(config.search.bounds) + 1}.",
            )
        )
    for name, point in config.fixed.items():
        if name == PLAIN:
            problems.append((("fixed", name), "is always part of a study. Remove it."))
        elif size % 2 and len(point) != count:
            problems.append(
                (
                    ("fixed", name),
                    f"has {_count(len(point), 'coefficient')}, but kernel_size {size} takes "
                    f"{count}, outermost first.",
                )
            )
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
        facts = KINDS[kind]
        if config.objective.metric not in facts.metrics:
            problems.append(
                (
                    ("objective", "metric"),
                    f"is {config.objective.metric}, but data '{config.data.name}' gives "
                    f"{', '.join(facts.metrics)}.",
                )
            )
        for metric in config.recipe.test_metrics:
            if metric not in facts.further_metrics:
                further = ", ".join(facts.further_metrics) or "no further metrics"
                problems.append(
                    (
                        ("recipe", "test_metrics"),
                        f"has {metric}, but {kind} takes {further}.",
                    )
                )
    problems += _search_problems(config)
    if config.recipe.batch % config.trial.ranks:
        problems.append(
            (
                ("recipe", "batch"),
                f"is {config.recipe.batch}, which {config.trial.ranks} ranks cannot share evenly. "
                f"Set a multiple of {config.trial.ranks}.",
            )
        )
    return problems


def _own_code_problems(config: StudyConfig) -> list[tuple[tuple[str, ...], str]]:
    problems: list[tuple[tuple[str, ...], str]] = []
    folder, kinds = config.code_folder, " or ".join(KINDS)
    if folder is not None and not folder.is_dir():
        problems.append((("code",), f"is {folder}, which is no folder."))
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
    if search.sampler.name == "cmaes" and coefficients == 1:
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
        text = "is for a search that goes on from there; a grid has its own points. Remove it."
        problems.append((("search", "warm_start"), text))
    if config.study in search.warm_start:
        problems.append((("search", "warm_start"), "names the study itself. Remove it."))
    if isinstance(search.sampler, GridSpec):
        problems += _grid_problems(config, search.sampler)
        if search.stop_when is not None:
            text = "ends a search early, but every point of a grid is trained. Remove it."
            problems.append((("search", "stop_when"), text))
    else:
        problems += _budget_problems(config)
    if config.confirm and config.confirm.candidates > 1 + len(config.fixed_points()):
        problems.append(
            (
                ("confirm", "candidates"),
                f"is {config.confirm.candidates}, but beside the best expected and the best "
                f"observed there are {_count(len(config.fixed), 'fixed point')} to compare. Set "
                f"at most {1 + len(config.fixed_points())}.",
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
    replicates, left = config.search.replicates, config.search_trials
    least = config.budget.trials - left
    if left < 0:
        fixed = len(config.fixed_points()) * replicates
        confirm = f" and the confirmation {config.confirm.trials}" if config.confirm else ""
        text = (
            f"is {config.budget.trials}, but the fixed points take {fixed}{confirm}. Set at least "
            f"{least}."
        )
    elif left % replicates:
        text = (
            f"leaves {left} for the search, which {replicates} replicates of each density cannot "
            f"share evenly. Set {config.budget.trials - left % replicates}."
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
                f"has {_count(given, 'value')}, but search.bounds has {coefficients}. Give one "
                "per coefficient, outermost first.",
            )
        ]
    size = grid_size(grid, search.bounds)
    if size > MAX_TRIALS:
        text = f"makes {size} points, but a study has at most {MAX_TRIALS} trials. Take fewer."
        return [(("search", "sampler", key), text)]
    points = len(config.grid_points())
    whole = trials - config.search_trials + points * search.replicates
    if trials == whole:
        return []
    fixed = _count(len(config.fixed_points()), "fixed point")
    common = f" ({size}, less {size - points} among the fixed)" if size > points else ""
    times = f", {search.replicates} times each," if search.replicates > 1 else ""
    confirm = f" and a confirmation of {config.confirm.trials}" if config.confirm else ""
    return [
        (
            ("budget", "trials"),
            f"is {trials}, but {fixed} and {points} grid points{common}{times}{confirm} "
            f"make {whole}. Set {whole}.",
        )
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
