"""The texts of the page of `report --html` about one study."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from wconv_sweep.amounts import amount, density_text, interval, title
from wconv_sweep.evidence.accounting import AGENT_GPU_HOURS
from wconv_sweep.evidence.confirmation import Confirmation
from wconv_sweep.evidence.failures import Failure
from wconv_sweep.evidence.findings import pruning_json
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.entries import claim_of, selected_point
from wconv_sweep.results.html.scores import ablation_table, headline_table, metrics_table
from wconv_sweep.results.text_tables import Column, Table
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.tables import PILOTS, SlotState
from wconv_sweep.study.config import ObjectiveSpec
from wconv_sweep.study.definition_text import (
    also_text,
    bounds_text,
    budget_text,
    recipe_text,
    reference_densities_text,
    sites_text,
    training_rows,
)

MAX_TRIALS = 1000
"""Rows of the table of trials."""

Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class StudySection:
    """One study on the page."""

    name: str
    description: str
    state: str
    verdict: str
    """The conclusion, in a sentence."""
    mood: str
    """better, worse or open: the style of the sentence."""
    headline: Facts
    scores: list[Table]
    progress: list[Table]
    costs: Facts
    failures: Sequence[Failure]
    trials: Table
    definition: Facts
    provenance: Facts


def study_section(storage: Storage, status: StudyStatus) -> StudySection:
    """Return the texts of the page about a study; none of them is escaped yet."""
    confirmation = status.confirmation
    return StudySection(
        name=status.study,
        description=status.config.description,
        state=status.word + (f": {status.reason}" if status.reason else ""),
        verdict=_verdict(status),
        mood=_mood(confirmation),
        headline=list(_headline(status)),
        scores=list(_scores(confirmation)),
        progress=[_counts(status), *_pilots(storage, status.study)],
        costs=list(_costs(status)),
        failures=status.failures,
        trials=_trials(status),
        definition=list(_definition(status)),
        provenance=list(_provenance(status)),
    )


# The result ------------------------------------------------------------------------------------


def _verdict(status: StudyStatus) -> str:
    if status.result is None:
        return "No trial has completed yet, so there is no result."
    text = claim_of(status)
    return f"{text[0].upper()}{text[1:]}."


def _mood(confirmation: Confirmation | None) -> str:
    selected = confirmation.selected if confirmation else None
    if confirmation is None or selected is None:
        return "open"
    difference = confirmation.difference(selected, confirmation.metric)
    verdict = difference.verdict(confirmation.config.direction) if difference else ""
    return verdict if verdict in ("better", "worse") else "open"


def _headline(status: StudyStatus) -> Iterator[tuple[str, str]]:
    result, confirmation = status.result, status.confirmation
    metric, own_unit = status.config.objective.metric, status.config.objective.unit
    if result is not None:
        yield "best density", density_text(*selected_point(status, result))
        selected = confirmation.selected if confirmation else None
        difference = (
            confirmation.difference(selected, confirmation.metric)
            if (confirmation and selected)
            else None
        )
        if difference is not None:
            found = amount(metric, difference.mean, own_unit, signed=True)
            yield f"{title(metric)} against plain", found
            level = f"{100 * difference.level:.4g} % interval"
            yield level, interval(metric, difference.interval, own_unit)
            yield "fresh seeds", str(difference.seeds)
        yield "best single run", amount(metric, result.best.value, own_unit)
    yield "trials", f"{status.ended} of {status.budget} ended"


def _scores(confirmation: Confirmation | None) -> Iterator[Table]:
    if confirmation is not None:
        yield headline_table(confirmation)
        yield metrics_table(confirmation)
        if confirmation.ablations:
            yield ablation_table(confirmation)


# Its cost --------------------------------------------------------------------------------------


def _counts(status: StudyStatus) -> Table:
    words = {SlotState.LEASED: "running"}
    found = {words.get(state, str(state)): number for state, number in status.counts.items()}
    shown = {word: number for word, number in found.items() if number}
    return Table(
        "Trials by state",
        tuple(Column(word, numeric=True) for word in (*shown, "all")),
        (tuple(map(str, (*shown.values(), status.budget))),),
    )


def _pilots(storage: Storage, study: str) -> Iterator[Table]:
    with storage.read() as connection:
        rows = connection.execute(
            select(PILOTS, AGENT_GPU_HOURS.label("gpu_hours"))
            .where(PILOTS.c.study == study)
            .order_by(PILOTS.c.id)
        ).all()
    if not rows:
        return
    headings = ("pilot", "host", "job", "GPUs", "GPU-hours", "began (UTC)", "ended (UTC)")
    yield Table(
        "Pilots",
        tuple(Column(name, name in ("pilot", "GPUs", "GPU-hours")) for name in headings),
        tuple(
            (
                str(row.pilot),
                row.host,
                row.job or "-",
                str(row.gpus_total),
                f"{row.gpu_hours:.2f}",
                _clock(row.started_at),
                "at work, or silent" if row.ended_at is None else _clock(row.ended_at),
            )
            for row in rows
        ),
    )


def _costs(status: StudyStatus) -> Iterator[tuple[str, str]]:
    usage = status.usage
    yield "GPU-hours used", f"{usage.spent_h:.2f}"
    yield "cap", "none" if usage.cap_h is None else f"{usage.cap_h:g} GPU-hours"
    yield "time of all attempts", f"{status.spent_s / 60:.1f} min"
    if status.proposals.moved:
        yield "proposals moved", f"{status.proposals.moved} of {status.proposals.made}"
    pruning = pruning_json(status)
    if pruning is not None:
        yield (
            "saved by pruning",
            f"{pruning['saved']} of {pruning['epochs_without']} epochs",
        )


def _trials(status: StudyStatus) -> Table:
    metric = status.config.objective.metric
    headings = ("trial", "stage", "label", "density", "seed index", "epoch", "state")
    numeric = ("trial", "density", "seed index", "epoch")
    begun = [row for row in status.trials if row.trial is not None]
    hidden = len(begun) - MAX_TRIALS
    return Table(
        f"Started trials: {len(begun)}"
        + (f" (the first {MAX_TRIALS} are shown)" if hidden > 0 else ""),
        (
            *(Column(name, name in numeric) for name in headings),
            Column(f"{title(metric)}, validation", numeric=True),
            Column("GPU-hours", numeric=True),
            Column("reason", numeric=False),
        ),
        tuple(tuple(_trial_cells(row, status.config.objective)) for row in begun[:MAX_TRIALS]),
    )


def _trial_cells(row: TrialRow, objective: ObjectiveSpec) -> Iterator[str]:
    yield from (
        str(row.trial),
        row.stage,
        row.called,
        density_text(row.density, row.settings),
    )
    yield from (str(row.replicate), str(row.epoch))
    yield "running" if row.state is SlotState.LEASED else str(row.state)
    yield amount(objective.metric, row.value, objective.unit)
    yield f"{row.gpu_hours:.3f}"
    yield row.reason or ""


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


# Its definition --------------------------------------------------------------------------------


def _definition(status: StudyStatus) -> Iterator[tuple[str, str]]:
    config = status.config
    search = config.search
    if config.trainer is not None:
        yield from training_rows(config).items()
    else:
        yield "network", f"{config.model.name} {_options(config.model.options)}".strip()
        yield "data", f"{config.data.name} {_options(config.data.options)}".strip()
        yield "recipe", recipe_text(config)
    yield "objective", f"{config.direction} {config.objective.metric} of the validation set"
    yield (
        "density",
        f"kernel size {config.kernel_size}, coefficients in {bounds_text(config)}, outermost "
        f"first, sampler {search.sampler.name}, pruner {search.pruner.name}",
    )
    if search.also:
        yield "searched together with it", also_text(config)
    yield "convolutions that it scales", sites_text(config)
    yield "reference densities", reference_densities_text(config)
    if config.confirm is not None:
        confirm = config.confirm
        sides = " of each side" if config.has_two_arms else ""
        candidates = f"{confirm.candidates} candidate(s){sides}"
        yield "confirmation", f"{candidates} on {confirm.seeds} fresh seeds"
    yield "budget", budget_text(config)
    yield "seed", str(config.seed)
    if status.confirmation is not None:
        indices = sorted(status.confirmation.plain.runs)
        yield "seed indices confirmed", ", ".join(map(str, indices)) or "none yet"


def _provenance(status: StudyStatus) -> Iterator[tuple[str, str]]:
    yield "wconv_sweep", status.version
    yield "config_sha256", status.config.digest()
    found = status.provenance | (status.result.best.provenance if status.result else {})
    for key, value in sorted(found.items()):
        yield key, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _options(options: Mapping[str, object]) -> str:
    # Folders depend on the machine.
    shown = {key: value for key, value in options.items() if not key.endswith("folder")}
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in shown.items())
