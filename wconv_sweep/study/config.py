"""A study file: one architecture, kernel size and recipe, and the densities to try."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs import catalog
from wconv_jobs.spec import DataSpec, Density, ModelSpec, RecipeSpec, SitesSpec
from wconv_jobs.spec_base import Spec
from wconv_sweep.study.grid import grid_points
from wconv_sweep.study.parameter import Choice
from wconv_sweep.study.point import Point, Settings
from wconv_sweep.study.search_config import (
    ConfirmSpec,
    GridSpec,
    Name,
    Reference,
    ReferencePoint,
    SearchSpec,
)
from wconv_sweep.study.trainer import TrainerSpec, with_stand_ins

MAX_TRIALS = 100_000

MAY_CHANGE = (("budget", "trials"), ("budget", "gpu_hours"), ("description",), ("code",))
"""Keys of a study that a later launch may change; the budgets may only grow."""

PLAIN = "plain"
"""Label of the plain baseline, the density of ones, which every study trains first."""


class ObjectiveSpec(Spec):
    """The goal of the search."""

    metric: str
    """Metric of the validation set, a module of `wconv_jobs.metrics`, which says whether more is
    better; or, with a trainer, what your program reports."""
    goal: Literal["maximize", "minimize"] | None = None
    """Of a metric of your own: whether more or less of it is better."""
    unit: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    """Of a metric of your own: its unit, for tables and figures; null: it has none."""


class BudgetSpec(Spec):
    """The budget."""

    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)]
    """Slots of the study, including reference densities, a grid and the confirmation."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Broken attempts after which a slot fails; interruptions are free."""
    breaker_failures: Annotated[int, Field(ge=1)] = 3
    """Equal failures (same exception, same place) that stop the whole study."""
    gpu_hours: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Cap on the GPU-hours of all GPUs that pilots hold; null: no limit."""


class TrialShape(Spec):
    """The processes of one trial."""

    ranks: Annotated[int, Field(ge=1)] = 1
    """DistributedDataParallel processes, one GPU each if there are GPUs."""
    per_gpu: Annotated[int, Field(ge=1)] = 1
    """Trials of one rank that share a GPU; each counts its share of the GPU's time. Without GPUs
    it has no effect."""
    threads_per_rank: Annotated[int, Field(ge=1)] = 1
    """CPU threads of each rank."""

    @property
    def gpus(self) -> float:
        """GPUs that a trial counts with where there are some: a part of one that it shares."""
        return self.ranks / self.per_gpu


class StudyConfig(Spec):
    """Everything that defines a study; the cluster it runs on is not part of it."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this file format."""
    study: Name
    description: str = ""
    code: Annotated[str, Field(min_length=1)] | None = None
    """Folder of the modules that `model.name` and `data.name` name as `package.module:function`,
    or of the program of `trainer`, relative to this file; null: they are installed."""
    kernel_size: Annotated[int, Field(ge=3)]
    """Side of the kernels that the density scales: odd; 3 takes one coefficient, 5 takes two."""
    trainer: TrainerSpec | None = None
    """A training program of your own, in place of `model`, `data` and `recipe`; null: ours."""
    model: ModelSpec
    sites: SitesSpec = SitesSpec()
    data: DataSpec
    recipe: RecipeSpec
    objective: ObjectiveSpec
    search: SearchSpec
    reference_densities: dict[Name, Reference] = Field(default_factory=dict)
    """Densities by name, trained beside the search, e.g. a published best one: the coefficients,
    or `density` and values of keys in `search.also`."""
    confirm: ConfirmSpec | None = None
    """Trials on fresh seeds that end the study; null leaves the selected density unconfirmed."""
    budget: BudgetSpec
    trial: TrialShape = TrialShape()
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of initial weights, data order and noise, the same for every density."""
    is_smoke: bool = False
    """Set by `--smoke`: the study only shows that everything runs, and its results stand beside no
    published ones."""

    @model_validator(mode="before")
    @classmethod
    def _trainer_takes_their_place(cls, content: Any) -> Any:
        return with_stand_ins(content)

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
        """Return the definition as plain data, with defaults filled in.

        Without keys that are younger than studies, where these say what was so before: `sites`
        where all are meant, `search.also` where it is empty, `search.arms` where it is both, one
        trial `per_gpu`, `trainer`, `objective.goal` and `objective.unit` where there are none,
        and those that `TrainerSpec.plain` and `RecipeSpec.plain` leave out.
        """
        plain = self.model_dump(mode="json", by_alias=True)
        if self.objective.goal is None:
            del plain["objective"]["goal"]
        if self.objective.unit is None:
            del plain["objective"]["unit"]
        if self.sites == SitesSpec():
            del plain["sites"]
        if self.trainer is None:
            del plain["trainer"]
        else:
            plain["trainer"] = self.trainer.plain()
        if not self.search.also:
            del plain["search"]["also"]
        if self.search.arms == "both":
            del plain["search"]["arms"]
        if self.trial.per_gpu == 1:
            del plain["trial"]["per_gpu"]
        return plain | {"recipe": self.recipe.plain()}

    @property
    def has_two_arms(self) -> bool:
        """Whether plain convolution is tuned, too, with as many proposals as weighted."""
        return bool(self.search.also) and self.search.arms == "both"

    @property
    def claims_gain(self) -> bool:
        """Whether plain convolution is treated like weighted, so that a difference is a gain."""
        return not self.search.also or self.has_two_arms

    @property
    def code_folder(self) -> Path | None:
        """Folder of the user's modules, absolute once the study is loaded."""
        return Path(self.code) if self.code else None

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Whether more or less of the objective is better."""
        return self.objective.goal or catalog.metric_facts(self.objective.metric).goal

    def own_unit(self, metric: str) -> str | None:
        """Return the unit that the study gives a metric, also on the test set; None without."""
        is_objective = metric.removeprefix("test_") == self.objective.metric
        return self.objective.unit if is_objective else None

    @property
    def search_trials(self) -> int:
        """Remaining slots for the search, after reference densities and confirmation.

        A grid has its own number.
        """
        references = len(self.references()) * self.search.seeds
        return self.budget.trials - references - self.confirm_trials

    @property
    def confirm_trials(self) -> int:
        """Slots of the confirmation: of each candidate and of plain convolution, on each seed.

        Plain convolution has as many candidates as weighted where it is tuned like it.
        """
        if self.confirm is None:
            return 0
        of_plain = self.confirm.candidates if self.has_two_arms else 1
        return (self.confirm.candidates + of_plain) * self.confirm.seeds

    def references(self) -> dict[str, Density]:
        """Return the reference densities, always trained, the plain baseline first."""
        ones = (1.0,) * len(self.search.bounds)
        return {PLAIN: ones} | {
            name: tuple(each.density if isinstance(each, ReferencePoint) else each)
            for name, each in self.reference_densities.items()
        }

    def reference_points(self) -> dict[str, Point]:
        """Return the same as points, each with its own values of the keys in `search.also`.

        The study's own, where a reference density does not give one.
        """
        own, given = dict(self.own_settings()), self.reference_settings()
        return {
            label: Point(density, tuple((own | given.get(label, {})).items()))
            for label, density in self.references().items()
        }

    def reference_settings(self) -> dict[str, dict[str, Choice]]:
        """Return the values that reference densities give, by name and key."""
        return {
            name: each.settings
            for name, each in self.reference_densities.items()
            if isinstance(each, ReferencePoint)
        }

    def own_settings(self) -> Settings:
        """Return the keys in `search.also` with the values that the study itself gives them."""
        whole = self.model_dump(mode="json", by_alias=True) if self.search.also else {}
        return tuple((key, value_at(whole, key)) for key in self.search.also)

    def grid_points(self) -> list[Density]:
        """Return the densities of a grid in their order, none for other samplers.

        Reference densities are left out: the same density would be trained twice, to the
        same numbers.
        """
        search, references = self.search, set(self.references().values())
        if not isinstance(search.sampler, GridSpec):
            return []
        return [
            each for each in grid_points(search.sampler, search.bounds) if each not in references
        ]


def value_at(content: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key of plain data; None where there is none."""
    found: Any = content
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def config_of(content: Mapping[str, Any]) -> StudyConfig:
    """Return the definition that a storage holds, see `StudyConfig.plain`."""
    recipe = {"memory_format": "contiguous"} | content["recipe"]
    return StudyConfig.model_validate({**content, "recipe": recipe})
