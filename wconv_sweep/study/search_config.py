"""The sections `search` and `confirm` of a study file: what is proposed, and what is repeated."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, FiniteFloat, JsonValue, Tag, model_validator

from wconv_jobs.spec_base import Spec
from wconv_sweep.study.parameter import Choice, ParameterSpec
from wconv_sweep.text_patterns import Matches

Name = Annotated[
    str,
    Matches(
        r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
        "may contain only letters, digits, _ and -, at most 100, and must begin with a letter or "
        "digit",
    ),
]
"""Names become folders, job names and table keys: letters, digits, _ and - alone."""

Bound = Annotated[tuple[FiniteFloat, FiniteFloat], Field(strict=False)]

Density = Annotated[list[FiniteFloat], Field(min_length=1)]
"""Coefficients of a density as a file holds them, outermost first."""

_AtLeastOne = Annotated[int, Field(ge=1)]


class _Sampler(Spec):
    takes_notes: ClassVar[bool] = False
    """Whether its notes on the trials of others decide what it proposes."""


class TpeSpec(_Sampler):
    """Tree-structured Parzen estimator, `optuna.samplers.TPESampler`."""

    name: Literal["tpe"]
    startup_trials: _AtLeastOne = 10
    """Completed and pruned trials, reference densities included, before which random ones are
    proposed."""
    multivariate: bool = True
    """Model the coefficients together; false takes each for itself."""
    constant_liar: bool = True
    """Stay away from densities that are being trained, for many workers at once."""


class GpSpec(_Sampler):
    """Gaussian process, `optuna.samplers.GPSampler`."""

    name: Literal["gp"]
    startup_trials: _AtLeastOne = 10
    """Completed trials within the bounds before which random densities are proposed."""


class RandomSpec(_Sampler):
    """Uniformly random densities."""

    name: Literal["random"]


class QmcSpec(_Sampler):
    """The Sobol sequence, which fills the range more evenly than chance does."""

    name: Literal["qmc"]
    scramble: bool = True
    """Shift the sequence at random, by the study's seed. Without, it starts at the lower bounds
    and the center, which is often the plain baseline."""


class CmaesSpec(_Sampler):
    """Covariance matrix adaptation, `optuna.samplers.CmaEsSampler`; takes two coefficients or
    more."""

    takes_notes: ClassVar[bool] = True
    name: Literal["cmaes"]


class DirectLSpec(_Sampler):
    """Division of the bounds into ever smaller rectangles, see `wconv_sweep.search.direct_l`."""

    name: Literal["direct-l"]


class OptunaSpec(_Sampler):
    """Any sampler of Optuna's, or one of your own that is derived from `BaseSampler`.

    The class is imported and called: a study that names its own Python is to be trusted like a
    program.
    """

    takes_notes: ClassVar[bool] = True
    name: Literal["optuna"]
    path: Annotated[
        str,
        Matches(
            r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+",
            "must be the import path of a class, with dots, such as optuna.samplers.TPESampler",
        ),
    ]
    """Where it is imported from, on every node, e.g. `optuna.samplers.NSGAIISampler`."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of the class; `seed` is the program's."""


class GridSpec(_Sampler):
    """Every point of a grid, once."""

    name: Literal["grid"]
    points: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] | None = None
    """Points of each coefficient, both bounds among them; or give `step`."""
    step: Annotated[list[Annotated[FiniteFloat, Field(gt=0)]], Field(min_length=1)] | None = None
    """Distance of the points of each coefficient, counted from its lower bound; or give
    `points`."""

    @model_validator(mode="after")
    def _points_or_step(self) -> Self:
        if (self.points is None) == (self.step is None):
            raise ValueError("grid takes either points or step, e.g. points: [21]")
        return self


SamplerSpec = Annotated[
    TpeSpec | GpSpec | RandomSpec | QmcSpec | CmaesSpec | DirectLSpec | GridSpec | OptunaSpec,
    Field(discriminator="name"),
]


class NoPrunerSpec(Spec):
    """Every trial is trained to its end."""

    name: Literal["none"]


class MedianSpec(Spec):
    """Stop what lies below the median of the completed trials, `optuna.pruners.MedianPruner`."""

    name: Literal["median"]
    startup_trials: _AtLeastOne = 5
    """Completed trials before any is stopped, and trials that have reached an epoch before any is
    stopped there."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 10
    """Epochs that every trial trains."""

    @property
    def first_epoch(self) -> int:
        """First epoch after which a trial may be stopped."""
        return self.warmup_epochs + 1


class HalvingSpec(Spec):
    """Asynchronous successive halving, `optuna.pruners.SuccessiveHalvingPruner`, or several of
    them side by side, `optuna.pruners.HyperbandPruner`."""

    name: Literal["asha", "hyperband"]
    min_epochs: _AtLeastOne = 10
    """Epochs that every trial trains."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One in so many continues, to so many times the epochs."""

    @property
    def first_epoch(self) -> int:
        """First epoch after which a trial may be stopped."""
        return self.min_epochs


class WilcoxonSpec(Spec):
    """Stop what is worse than the best trial, epoch for epoch, `optuna.pruners.WilcoxonPruner`."""

    name: Literal["wilcoxon"]
    p_threshold: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.01
    """Below it a trial is stopped; smaller stops fewer."""
    startup_epochs: Annotated[int, Field(ge=2)] = 10
    """Pairs of epochs that the test needs."""

    @property
    def first_epoch(self) -> int:
        """First epoch after which a trial may be stopped."""
        return self.startup_epochs


PrunerSpec = Annotated[
    NoPrunerSpec | MedianSpec | HalvingSpec | WilcoxonSpec, Field(discriminator="name")
]


class StopSpec(Spec):
    """When the search may end before its budget."""

    in_a_row: _AtLeastOne
    """Trials in a row after which no density could be better than the best expected one, by two
    standard deviations of the surrogate, by more than a confirmation can resolve: the noise of a
    run over the square root of `confirm.seeds`, which is 1 without a confirmation."""
    minimum: _AtLeastOne
    """Completed trials, reference densities included, before which the search never ends."""


class ConfirmSpec(Spec):
    """Training once more, on fresh seeds, when the search has ended."""

    candidates: _AtLeastOne = 2
    """Densities compared with plain convolution: the best expected by all trials, the best
    observed, then the reference densities in their order. Where plain convolution is tuned, too,
    it has as many candidates of its own."""
    seeds: Annotated[int, Field(ge=2)] = 5
    """Trials of each candidate and of plain convolution, on the same seeds; more give a narrower
    interval, and from two nothing is concluded."""


class ReferencePoint(Spec):
    """A reference density with values of keys in `search.also`, e.g. of a published recipe."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Choice]
    density: Density
    """Its coefficients, outermost first."""

    @property
    def settings(self) -> dict[str, Choice]:
        """Values by key; those that it does not give are the study's own."""
        return dict(self.__pydantic_extra__)


def _form_of(reference: object) -> str:
    return "point" if isinstance(reference, dict | ReferencePoint) else "list"


Reference = Annotated[
    Annotated[Density, Tag("list")] | Annotated[ReferencePoint, Tag("point")],
    Discriminator(_form_of),
]


class SearchSpec(Spec):
    """The densities that the search may propose, and values of other keys."""

    bounds: Annotated[list[Bound], Field(min_length=1)]
    """One [low, high] per coefficient, outermost first."""
    also: dict[str, ParameterSpec] = Field(default_factory=dict)
    """Further keys, as in `recipe.optimizer.lr`, that are searched together with the density. The
    search then has two arms, plain convolution and weighted convolution, with equal numbers of
    proposals, and the confirmation compares the best of each."""
    arms: Literal["both", "weighted"] = "both"
    """With `also`, what is tuned: plain and weighted convolution alike, or weighted convolution
    alone, of which no gain over plain convolution is claimed then."""
    sampler: SamplerSpec
    pruner: PrunerSpec = NoPrunerSpec(name="none")
    warm_start: list[Name] = Field(default_factory=list)
    """Finished studies of the same storage, with a related network or kernel size: the densities
    that they make likely are tried first."""
    seeds: _AtLeastOne = 1
    """Seeds that each density is trained with, reference densities included; one is measured to
    be best, since all trials together select the density."""
    stop_when: StopSpec | None = None
    """Ends the search early; null spends the whole budget."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        for low, high in self.bounds:
            if not low < high:
                raise ValueError(f"bounds [{low}, {high}] must hold low < high")
        return self
