"""Lays a report out as the paper's tables, as text cells."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wconv_sweep.amounts import axis_title, title, unit
from wconv_sweep.evidence.statistics import Summary
from wconv_sweep.results.report.comparison import VARIANTS, Comparison, Variant
from wconv_sweep.results.text_tables import Column, Table


def tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """Return the tables of a report that have a row.

    Studies that repeat a row of the paper stand in its tables 3 to 6, with its value after each of
    ours. All others stand in tables of the same layout without published values.
    """
    laid_out: list[Table] = []
    ours = [each for each in comparisons if each.config.trainer is None]
    for theirs in (True, False):
        for classification in (True, False):
            chosen = [
                each
                for each in ours
                if (each.published is not None) is theirs and each.classification is classification
            ]
            laid_out += _tables_of(chosen, theirs=theirs, classification=classification)
    own = [each for each in comparisons if each.config.trainer is not None]
    for metric, own_unit in dict.fromkeys(_objective(each) for each in own):
        chosen = [each for each in own if _objective(each) == (metric, own_unit)]
        scores = _own_scores(metric, own_unit)
        kind = f"programs of your own, {axis_title(metric, own_unit)}"
        laid_out += _tables_of(
            chosen, theirs=False, classification=False, scores=scores, kind=kind
        )
    return laid_out


def density_cell(density: Sequence[float]) -> str:
    """Return a density as a cell of a table: a number, or several in brackets."""
    text = ", ".join(f"{value:.3g}" for value in density)
    return text if len(density) == 1 else f"({text})"


@dataclass(frozen=True)
class _Field:
    heading: str
    text: Callable[[Comparison, Variant], str]
    numeric: bool = True


@dataclass(frozen=True)
class Score:
    """A score of the test set as the tables show it."""

    name: str
    metric: str
    decimals: int
    unit: str = ""
    factor: float = 1.0
    """Between what is recorded and what is shown."""

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def number(self, value: float | None) -> str:
        """Return a value with the score's decimals; empty where there is none."""
        if value is None:
            return ""
        return f"{self.factor * value:.{self.decimals}f}"


ACCURACY = Score("accuracy", "test_accuracy", 2, "%", 100.0)
PSNR = Score("PSNR", "test_psnr_db", 2, "dB")
_CLASSIFICATION = (ACCURACY, Score("F1", "test_macro_f1", 3))
_DENOISING = (
    Score("NRMSE", "test_nrmse", 3),
    PSNR,
    Score("SSIM", "test_ssim", 3),
    Score("FSIM", "test_fsim", 3),
    Score("UIQ", "test_uiq_global", 3),
)
_ARCHITECTURE = _Field("architecture", lambda each, _: each.architecture, numeric=False)
_DATA = _Field("data", lambda each, _: each.config.data.name, numeric=False)
_KERNEL = _Field("kernel", lambda each, _: _square(each.config.kernel_size), numeric=False)
_VARIANT = _Field("variant", lambda _, variant: variant, numeric=False)
_STUDY = _Field("study", lambda each, _: each.config.study, numeric=False)
_RECIPE = _Field("recipe", lambda each, _: each.recipe, numeric=False)


def _tables_of(
    chosen: Sequence[Comparison],
    *,
    theirs: bool,
    classification: bool,
    scores: tuple[Score, ...] = (),
    kind: str = "",
) -> Iterator[Table]:
    if not chosen:
        return
    names = [_ARCHITECTURE]
    names += [] if theirs else [_DATA]
    names += [] if theirs and classification else [_KERNEL]
    scores = scores or (_CLASSIFICATION if classification else _DENOISING)
    kind = kind or ("classification" if classification else "denoising")
    if theirs:
        first, where = (3, "CIFAR-100") if classification else (5, "DIV2K")
        titles = (
            f"Table {first}. {kind.capitalize()}, {where}",
            f"Table {first + 1}. {kind.capitalize()}, {where}: time per epoch",
        )
    else:
        titles = (f"Other studies: {kind}", f"Other studies: {kind}, time per epoch")
    fields = [*names, _VARIANT, *_score_fields(scores, theirs=theirs), _STUDY, _RECIPE]
    yield _table(titles[0], fields, chosen, VARIANTS)
    if theirs or any(each.seconds(variant) for each in chosen for variant in VARIANTS):
        fields = [*names, *_time_fields(theirs=theirs), _STUDY, _RECIPE]
        yield _table(titles[1], fields, chosen, VARIANTS[:1])


def _objective(comparison: Comparison) -> tuple[str, str | None]:
    objective = comparison.config.objective
    return objective.metric, objective.unit


def _own_scores(metric: str, own_unit: str | None) -> tuple[Score, ...]:
    """Return the objective on the validation and the test set, as a program reports it."""
    of = unit(metric, own_unit)
    return (
        Score(f"{title(metric)} (validation)", metric, 4, of),
        Score(f"{title(metric)} (test)", f"test_{metric}", 4, of),
    )


def _table(
    heading: str,
    fields: Sequence[_Field],
    comparisons: Sequence[Comparison],
    variants: Sequence[Variant],
) -> Table:
    return Table(
        heading,
        tuple(Column(field.heading, field.numeric) for field in fields),
        tuple(
            tuple(field.text(each, variant) for field in fields)
            for each in comparisons
            for variant in variants
        ),
    )


def _score_fields(scores: Sequence[Score], *, theirs: bool) -> Iterator[_Field]:
    for score in scores:
        yield _Field(score.heading, _ours(score))
        if theirs:
            yield _Field("paper", _theirs(score))
    yield _Field("density", _density_of_trial)
    if theirs:
        yield _Field("paper", _published_density)


def _ours(score: Score) -> Callable[[Comparison, Variant], str]:
    return lambda each, variant: score.number(each.value(variant, score.metric))


def _theirs(score: Score) -> Callable[[Comparison, Variant], str]:
    return lambda each, variant: score.number(each.published_value(variant, score.metric))


def _time_fields(*, theirs: bool) -> Iterator[_Field]:
    for variant in VARIANTS:
        yield _Field(f"{variant}, s", _of_times(variant, lambda found: _rounded(found.mean, 3)))
        yield _Field("sd", _of_times(variant, lambda found: _rounded(found.sd, 2)))
        yield _Field("runs", _of_times(variant, lambda found: str(found.seeds)))
    yield _Field("overhead, %", lambda each, _: _overhead(each))
    yield _Field("95 % interval", lambda each, _: _overhead_interval(each))
    if theirs:
        for variant in VARIANTS:
            yield _Field(f"paper: {variant}", _published_time(variant))
        yield _Field("paper: overhead, %", _published_overhead)


def _of_times(
    variant: Variant, text: Callable[[Summary], str]
) -> Callable[[Comparison, Variant], str]:
    def of(each: Comparison, _: Variant) -> str:
        found = each.seconds(variant)
        return text(found) if found else ""

    return of


def _overhead(each: Comparison) -> str:
    """Return the overhead where the interval leaves out zero, in words where it does not."""
    verdict = each.times.verdict
    return verdict if verdict in ("none", "not known") else _percent(each.times.overhead_percent)


def _overhead_interval(each: Comparison) -> str:
    bounds = each.times.interval_percent
    return f"{bounds[0]:+.1f} to {bounds[1]:+.1f}" if bounds else ""


def _published_time(variant: Variant) -> Callable[[Comparison, Variant], str]:
    def text(each: Comparison, _: Variant) -> str:
        assert each.published is not None
        times = each.published.times
        time = times.standard if variant == "standard" else times.weighted
        # The digits that the paper prints: none after the point in Table 4, two in Table 6.
        return f"{time:.0f}" if each.classification else f"{time:.2f}"

    return text


def _published_overhead(each: Comparison, _: Variant) -> str:
    assert each.published is not None
    return _percent(each.published.times.overhead_percent)


def _density_of_trial(each: Comparison, variant: Variant) -> str:
    trial = each.trial(variant)
    return "" if trial is None else density_cell(trial.density or ())


def _published_density(each: Comparison, variant: Variant) -> str:
    assert each.published is not None
    return density_cell(each.published.density) if variant == "weighted" else ""


def _square(size: int) -> str:
    return f"{size}x{size}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _rounded(value: float | None, digits: int) -> str:
    """Return a time with its first digits, and no more after the point than they need."""
    if not value:
        return "" if value is None else "0"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"
