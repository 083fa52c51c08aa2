"""The notes below the tables of a report: the conditions of its numbers, in sentences."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wconv_sweep.amounts import title, with_settings
from wconv_sweep.evidence.confirmation import NOT_TUNED
from wconv_sweep.evidence.epoch_times import FEWEST_PAIRS
from wconv_sweep.evidence.findings import moved_text, pruning_json
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.score_rows import cell, score_rows
from wconv_sweep.results.export.entries import CLAIM
from wconv_sweep.results.report.comparison import VARIANTS, Comparison, is_unverified
from wconv_sweep.results.report.paper import SOURCE
from wconv_sweep.results.report.tables import ACCURACY, PSNR, density_cell
from wconv_sweep.storage.tables import SlotState
from wconv_sweep.study.definition_text import also_text

INPUT_MARGIN_DB = 0.2
"""A denoiser whose PSNR is this close to that of its input has learned to return it."""

_TIMES = (
    "Time per epoch: training plus validation; of a run the median over its epochs, without the "
    "first of each attempt; mean, sd and overhead over runs. Overhead: by pairs of runs on the "
    "same host and device, with as many ranks and threads and as many other trials beside them; "
    f"none where its interval includes zero, not known by fewer than {FEWEST_PAIRS} pairs."
)
_CONDITIONS = {
    "host": "host",
    "device": "device",
    "torch": "version of torch",
    "ranks": "number of ranks",
    "threads": "threads per rank",
    "side_by_side": "number of trials side by side",
}


def notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the notes below the tables: the general notes, then one per study."""
    general = []
    if any(each.confirmation is None for each in comparisons):
        general.append(
            f"weighted: {CLAIM}. It is one run of one seed, chosen on the validation set, so "
            "part of its lead may be luck. All scores are those of the test set."
        )
    if any(each.confirmation is not None for each in comparisons):
        general.append(
            "Confirmed studies show means over fresh seeds, the same for both networks, of scores "
            "of the test set."
        )
    beside_paper = [each for each in comparisons if each.published is not None]
    if beside_paper:
        general.append(
            f"paper: the value that {SOURCE} publishes, blank if it is unknown. The unit of "
            "its times per epoch is also unknown, so only the overheads can be compared."
        )
    if any(not each.classification and not each.config.trainer for each in comparisons):
        general.append(
            "UIQ: the index of the whole image as one window, which is most probably the paper's; "
            "windows of 8x8 give lower values, which the csv format has as test_uiq."
        )
    if any(each.seconds(variant) for each in comparisons for variant in VARIANTS):
        general.append(_TIMES)
    return general + [f"{each.config.study}: {' '.join(_remarks(each))}" for each in comparisons]


def _remarks(each: Comparison) -> Iterator[str]:
    config = each.config
    counts = each.status.counts
    others = "".join(
        f", {counts[state]} {state}"
        for state in (SlotState.PRUNED, SlotState.FAILED, SlotState.SKIPPED)
        if counts[state]
    )
    if config.is_smoke:
        yield "Smoke run: shows that everything runs, no more."
    elif is_unverified(config):
        yield "Data not verified to be whole: the scores stand beside no published ones."
    yield (f"{counts[SlotState.COMPLETE]} of {each.status.budget} trials complete{others}.")
    yield from _confirmed(each)
    if each.result.plain is None:
        yield "The standard network has not completed."
    elif each.plain_is_best:
        yield (
            "No density tried beat the standard network on the validation set: both rows show "
            "the standard network."
        )
    yield from _at_the_papersdensity_cell(each)
    yield from _collapse(each)
    yield from _of_both(each, _ending)
    yield from _of_both(each, _place)
    yield from _overhead(each)
    for name, options in (("Network", config.model.options), ("Data", config.data.options)):
        # Folders depend on the machine.
        shown = {key: value for key, value in options.items() if not key.endswith("folder")}
        if shown:
            yield f"{name}: {_keys(shown)}."
    if config.trainer is not None:
        yield f"Program: {_keys(config.trainer.model_dump(mode='json'))}. Seed: {config.seed}."
        return
    yield f"Recipe: {_keys(config.recipe.model_dump(mode='json'))}. Seed: {config.seed}."
    if config.search.also:
        whom = " for both networks, in equal numbers of trials" if config.has_two_arms else ""
        yield f"Searched{whom}: {also_text(config)}."


def _confirmed(each: Comparison) -> Iterator[str]:
    """State how much better the selected density is, and the source of the difference."""
    moved = moved_text(each.status)
    if moved is not None:
        yield f"{moved}."
    pruning = pruning_json(each.status)
    if pruning is not None:
        yield f"Pruning saved {pruning['saved']} of {pruning['epochs_without']} epochs."
    confirmation = each.confirmation
    if confirmation is None:
        if not each.config.claims_gain:
            yield f"{NOT_TUNED[0].upper()}{NOT_TUNED[1:]}."
        return
    metric = confirmation.metric
    seeds = ", ".join(map(str, sorted(confirmation.plain.runs)))
    yield (f"Confirmed at seed indices {seeds} of seed {each.config.seed}: {confirmation.claim}.")
    arms = (*confirmation.candidates, *confirmation.ablations)
    for row in score_rows(confirmation, [metric], arms):
        if row.difference is None:
            continue
        name = cell(row, "network") + (" (selected)" if row.is_selected else "")
        yield (
            f"{name[0].upper()}{name[1:]}, {density_cell(row.density)}"
            f"{with_settings(row.settings)}: {title(metric)} {cell(row, 'difference')} against "
            f"plain, {cell(row, 'level')} interval {cell(row, 'interval')}."
        )


def _at_the_papersdensity_cell(each: Comparison) -> Iterator[str]:
    """State the score at the paper's best density, if a trial had it."""
    row = each.published
    if row is None or each.result.best.density == row.density:
        return
    score = ACCURACY if each.classification else PSNR
    amounts = [
        score.number(trial.metrics.get(score.metric))
        for trial in each.status.trials
        if trial.state is SlotState.COMPLETE and trial.density == row.density
    ]
    if amounts and amounts[0]:
        density = density_cell(row.density)
        yield f"At the density of the paper, {density}: {score.name} {amounts[0]} {score.unit}."


def _collapse(each: Comparison) -> Iterator[str]:
    """Warn if a denoiser does not denoise: a gain over such a network means little."""
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


def _overhead(each: Comparison) -> Iterator[str]:
    """State what weighting costs, or why that is not known."""
    times = each.times
    if not times.standard or not times.weighted:
        return
    pairs = f"{times.pairs} {'pair' if times.pairs == 1 else 'pairs'} of runs"
    if times.interval_percent is not None and times.overhead_percent is not None:
        low, high = times.interval_percent
        found = "none" if times.verdict == "none" else f"{times.overhead_percent:+.1f} %"
        yield (
            f"Overhead of the weighted network: {found}, by {pairs}, 95 % interval {low:+.1f} % "
            f"to {high:+.1f} %."
        )
        return
    if times.pairs < FEWEST_PAIRS:
        why = f"{pairs} under equal conditions, and it takes {FEWEST_PAIRS}"
    else:
        why = f"all {pairs} differ by the same"
    yield f"Overhead of the weighted network: not known ({why})."
    if times.unlike:
        yield f"The runs differ in {', '.join(_CONDITIONS[name] for name in times.unlike)}."
    if times.unknown:
        yield (
            f"In no pair: {times.unknown} of the runs, which changed hosts, or have no time of "
            "whole epochs after the first of an attempt, as of an earlier version."
        )


def _keys(values: dict[str, Any], prefix: str = "") -> str:
    """Return settings as a study file and --set name them; null and empty ones are left out."""
    parts = []
    for key, value in values.items():
        if isinstance(value, dict):
            parts.append(_keys(value, f"{prefix}{key}."))
        elif value is not None and value != []:
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(f"{prefix}{key}={text}")
    return ", ".join(parts)
