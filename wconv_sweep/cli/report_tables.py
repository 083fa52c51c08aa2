"""Lays a report out as the paper's tables and the notes that belong below them, as text cells."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wconv_sweep.amounts import amount, interval, title
from wconv_sweep.evidence.findings import pruning_json
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.results.export import CLAIM
from wconv_sweep.results.paper import SOURCE
from wconv_sweep.results.report import VARIANTS, Comparison, Variant
from wconv_sweep.storage.tables import SlotState

INPUT_MARGIN_DB = 0.2
"""A denoiser whose PSNR is this close to that of its input has learned to return it."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table, ready to be written down; an empty cell has nothing to show."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """Return the tables of a report that have a row.

    Studies that repeat a row of the paper stand in its tables 3 to 6, with its value after each of
    ours. All others stand in tables of the same layout without published values.
    """
    laid_out: list[Table] = []
    for theirs in (True, False):
        for classification in (True, False):
            chosen = [
                each
                for each in comparisons
                if (each.published is not None) is theirs and each.classification is classification
            ]
            laid_out += _tables_of(chosen, theirs=theirs, classification=classification)
    return laid_out


def notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what a reader must know beside the tables: the general notes, then one per study."""
    general = []
    if any(each.confirmation is None for each in comparisons):
        general.append(
            f"weighted: {CLAIM}. It is one run of one seed, chosen on the validation part, so "
            "part of its lead may be luck. All scores are those of the test part."
        )
    if any(each.confirmation is not None for each in comparisons):
        general.append(
            "Confirmed studies show means over fresh seeds, the same for both networks, of scores "
            "of the test part."
        )
    beside_paper = [each for each in comparisons if each.published is not None]
    if beside_paper:
        general.append(
            f"paper: the value that {SOURCE} publishes, blank where it is not known. The unit of "
            "its times per epoch is not known either, so only the overheads can be compared."
        )
    if any(not each.classification for each in comparisons):
        general.append(
            "UIQ: the index of the whole image as one window, as the paper's most probably is; "
            "windows of 8x8 give lower values, which the csv format has as test_uiq."
        )
    if any(each.value(variant, "epoch_s") for each in comparisons for variant in VARIANTS):
        general.append(
            "Time per epoch: the median over the epochs of a trial, training plus validation."
        )
    return general + [f"{each.config.study}: {' '.join(_remarks(each))}" for each in comparisons]


# Tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Field:
    heading: str
    text: Callable[[Comparison, Variant], str]
    numeric: bool = True


@dataclass(frozen=True)
class _Score:
    name: str
    metric: str
    decimals: int
    unit: str = ""

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def number(self, value: float | None) -> str:
        if value is None:
            return ""
        return f"{100 * value if self.unit == '%' else value:.{self.decimals}f}"


_ACCURACY = _Score("accuracy", "test_accuracy", 2, "%")
_PSNR = _Score("PSNR", "test_psnr_db", 2, "dB")
_CLASSIFICATION = (_ACCURACY, _Score("F1", "test_macro_f1", 3))
_DENOISING = (
    _Score("NRMSE", "test_nrmse", 3),
    _PSNR,
    _Score("SSIM", "test_ssim", 3),
    _Score("FSIM", "test_fsim", 3),
    _Score("UIQ", "test_uiq_global", 3),
)
_ARCHITECTURE = _Field("architecture", lambda each, _: each.architecture, numeric=False)
_DATA = _Field("data", lambda each, _: each.config.data.name, numeric=False)
_KERNEL = _Field("kernel", lambda each, _: _square(each.config.kernel_size), numeric=False)
_VARIANT = _Field("variant", lambda _, variant: variant, numeric=False)
_STUDY = _Field("study", lambda each, _: each.config.study, numeric=False)
_RECIPE = _Field("recipe", lambda each, _: each.recipe, numeric=False)


def _tables_of(
    chosen: Sequence[Comparison], *, theirs: bool, classification: bool
) -> Iterator[Table]:
    if not chosen:
        return
    names = [_ARCHITECTURE]
    names += [] if theirs else [_DATA]
    names += [] if theirs and classification else [_KERNEL]
    scores = _CLASSIFICATION if classification else _DENOISING
    kind = "classification" if classification else "denoising"
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
    if theirs or any(each.value(variant, "epoch_s") for each in chosen for variant in VARIANTS):
        fields = [*names, *_time_fields(theirs=theirs), _STUDY, _RECIPE]
        yield _table(titles[1], fields, chosen, VARIANTS[:1])


def _table(
    title: str,
    fields: Sequence[_Field],
    comparisons: Sequence[Comparison],
    variants: Sequence[Variant],
) -> Table:
    return Table(
        title,
        tuple(Column(field.heading, field.numeric) for field in fields),
        tuple(
            tuple(field.text(each, variant) for field in fields)
            for each in comparisons
            for variant in variants
        ),
    )


def _score_fields(scores: Sequence[_Score], *, theirs: bool) -> Iterator[_Field]:
    for score in scores:
        yield _Field(score.heading, _ours(score))
        if theirs:
            yield _Field("paper", _theirs(score))
    yield _Field("density", _density_of_trial)
    if theirs:
        yield _Field("paper", _published_density)


def _ours(score: _Score) -> Callable[[Comparison, Variant], str]:
    return lambda each, variant: score.number(each.value(variant, score.metric))


def _theirs(score: _Score) -> Callable[[Comparison, Variant], str]:
    return lambda each, variant: score.number(each.published_value(variant, score.metric))


def _time_fields(*, theirs: bool) -> Iterator[_Field]:
    for variant in VARIANTS:
        yield _Field(f"{variant}, s", _seconds_of(variant))
    yield _Field("overhead, %", lambda each, _: _percent(each.overhead_percent))
    if theirs:
        for variant in VARIANTS:
            yield _Field(f"paper: {variant}", _published_time(variant))
        yield _Field("paper: overhead, %", _published_overhead)


def _seconds_of(variant: Variant) -> Callable[[Comparison, Variant], str]:
    return lambda each, _: _seconds(each.value(variant, "epoch_s"))


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
    return "" if trial is None else _density(trial.density or ())


def _published_density(each: Comparison, variant: Variant) -> str:
    assert each.published is not None
    return _density(each.published.density) if variant == "weighted" else ""


# Texts -----------------------------------------------------------------------------------------


def _square(size: int) -> str:
    return f"{size}x{size}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    """Return a time with three significant digits, and no more after the point than that."""
    if not value:
        return ""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _density(density: Sequence[float]) -> str:
    text = ", ".join(f"{value:.3g}" for value in density)
    return text if len(density) == 1 else f"({text})"


# Notes -----------------------------------------------------------------------------------------


def _remarks(each: Comparison) -> Iterator[str]:
    config = each.config
    counts = each.status.counts
    others = "".join(
        f", {counts[state]} {state}"
        for state in (SlotState.PRUNED, SlotState.FAILED, SlotState.SKIPPED)
        if counts[state]
    )
    if each.smoke:
        yield "Smoke run, or data not verified to be whole: shows that everything runs, no more."
    yield (f"{counts[SlotState.COMPLETE]} of {each.status.budget} trials complete{others}.")
    yield from _confirmed(each)
    if each.result.plain is None:
        yield "The standard network has not completed."
    elif each.plain_is_best:
        yield (
            "No density tried beat the standard network on the validation part: both rows show "
            "the standard network."
        )
    yield from _at_the_papers_density(each)
    yield from _collapse(each)
    yield from _of_both(each, _ending)
    yield from _of_both(each, _place)
    if each.result.plain is not None and not each.same_device:
        yield "The devices differ, so no overhead is given."
    for name, options in (("Network", config.model.options), ("Data", config.data.options)):
        # Folders are a matter of the machine.
        shown = {key: value for key, value in options.items() if not key.endswith("folder")}
        if shown:
            yield f"{name}: {_keys(shown)}."
    yield f"Recipe: {_keys(config.recipe.model_dump(mode='json'))}. Seed: {config.seed}."


def _confirmed(each: Comparison) -> Iterator[str]:
    """Say how much better the named density is, and where the difference comes from."""
    pruning = pruning_json(each.status)
    if pruning is not None:
        yield f"Pruning saved {pruning['saved']} of {pruning['epochs_without']} epochs."
    confirmation = each.confirmation
    if confirmation is None:
        return
    metric, named = confirmation.metric, confirmation.named
    seeds = ", ".join(map(str, sorted(confirmation.plain.runs)))
    yield (f"Confirmed at replicates {seeds} of seed {each.config.seed}: {confirmation.claim}.")
    for arm in (*confirmation.candidates, *confirmation.ablations):
        difference = confirmation.difference(arm, metric)
        if difference is None:
            continue
        name = arm.label + (" (named)" if arm is named else "")
        yield (
            f"{name[0].upper()}{name[1:]}, {_density(arm.density)}: {title(metric)} "
            f"{amount(metric, difference.mean, signed=True)} against plain, "
            f"{100 * difference.level:.4g} % interval {interval(metric, difference.interval)}."
        )


def _at_the_papers_density(each: Comparison) -> Iterator[str]:
    """Give the score at the density that the paper calls the best, where a trial had it."""
    row = each.published
    if row is None or each.result.best.density == row.density:
        return
    score = _ACCURACY if each.classification else _PSNR
    amounts = [
        score.number(trial.metrics.get(score.metric))
        for trial in each.status.trials
        if trial.state is SlotState.COMPLETE and trial.density == row.density
    ]
    if amounts and amounts[0]:
        density = _density(row.density)
        yield f"At the density of the paper, {density}: {score.name} {amounts[0]} {score.unit}."


def _collapse(each: Comparison) -> Iterator[str]:
    """Say so when a denoiser does not denoise: a gain over such a network means little."""
    for variant in VARIANTS:
        denoised = each.value(variant, "test_psnr_db")
        noisy = each.value(variant, "input_psnr_db")
        if denoised is None or noisy is None or (variant == "weighted" and each.plain_is_best):
            continue
        if denoised < noisy - INPUT_MARGIN_DB:
            what = "is worse than its input"
        elif denoised <= noisy + INPUT_MARGIN_DB:
            what = "returns its input"
        else:
            continue
        yield (
            f"The {variant} network {what}: its PSNR is {denoised:.2f} dB, that of the noisy "
            f"input {noisy:.2f} dB."
        )


def _of_both(each: Comparison, text: Callable[[TrialRow], str]) -> Iterator[str]:
    """Yield a sentence on both trials where they agree, on each where they differ."""
    found = {variant: trial for variant in VARIANTS if (trial := each.trial(variant)) is not None}
    said = {variant: text(trial) for variant, trial in found.items()}
    if len(set(said.values())) > 1:
        yield from (f"{name.capitalize()}: {line}." for name, line in said.items() if line)
    elif line := said["weighted"]:
        yield f"{line[0].upper()}{line[1:]}."


def _ending(trial: TrialRow) -> str:
    parts = []
    if "stopped_epoch" in trial.metrics:
        parts.append(f"trained {trial.metrics['stopped_epoch']:.0f} epochs")
    if "best_epoch" in trial.metrics:
        parts.append(f"tested the weights of epoch {trial.metrics['best_epoch']:.0f}")
    if "lr" in trial.metrics:
        parts.append(f"learning rate at the end {trial.metrics['lr']:.3g}")
    return ", ".join(parts)


def _place(trial: TrialRow) -> str:
    device, torch = (trial.provenance.get(name) for name in ("device", "torch"))
    parts = [f"measured on {device}"] if device else []
    parts += [f"torch {torch}"] if torch else []
    return ", ".join(parts)


def _keys(values: dict[str, Any], prefix: str = "") -> str:
    """Return settings as a study file and --set name them; what is null or empty is left out."""
    parts = []
    for key, value in values.items():
        if isinstance(value, dict):
            parts.append(_keys(value, f"{prefix}{key}."))
        elif value is not None and value != []:
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(f"{prefix}{key}={text}")
    return ", ".join(parts)
