"""The result of studies, one entry per architecture and kernel size, to keep and to publish."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import yaml

from wconv_jobs.spec import Density, SitesSpec
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.confirmation import NOT_TUNED, Arm
from wconv_sweep.evidence.findings import confirmation_json, pruning_json, surrogate_json
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.tables import comma_separated, markdown, tex
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.point import Point, Settings

Format = Literal["yaml", "json", "csv", "md", "tex"]

CLAIM = "best observed single run; not confirmed on fresh seeds"


def export(storage: Storage, study: str | None) -> list[dict[str, Any]]:
    """Return the results of one study, or of all studies with a completed trial.

    Raises:
        StudyError: there is no such study, or nothing has completed yet.
    """
    found = with_result(storage, study)
    return [_entry(status, status.result) for status in found if status.result is not None]


def with_result(storage: Storage, study: str | None) -> list[StudyStatus]:
    """Return one study, or all studies, with a completed trial.

    Raises:
        StudyError: there is no such study, or nothing has completed yet.
    """
    names = [study] if study else study_names(storage)
    found = [read_status(storage, name) for name in names]
    found = [status for status in found if status.result is not None]
    if not found:
        what = f"study {study}" if study else storage.name
        raise StudyError(
            f"{what}: no trial has completed yet, so there is nothing to export. "
            "`wconv-sweep status` shows the progress."
        )
    return found


def selected_density(status: StudyStatus, result: StudyResult) -> Density:
    """Return the density that fresh seeds selected; before that, the best observed one."""
    return selected_point(status, result)[0]


def selected_point(status: StudyStatus, result: StudyResult) -> tuple[Density, Settings]:
    """Return that density and what was searched together with it."""
    confirmation = status.confirmation
    selected = confirmation.selected if confirmation else None
    best: TrialRow | Arm = result.best if selected is None else selected
    return best.density or (), best.settings


def selected_result(status: StudyStatus) -> StudyResult | None:
    """Return the runs that represent that density and plain convolution; None without one.

    Of a confirmation, those of the first fresh seed that both have completed; if they share
    none, the first of each, and no plain run if none has completed. Before that, those of
    the search.
    """
    confirmation = status.confirmation
    selected = confirmation.selected if confirmation else None
    if confirmation is None or selected is None:
        return status.result
    plain_runs = confirmation.plain.runs
    paired = selected.runs.keys() & plain_runs.keys()
    plain = plain_runs[min(paired or plain_runs)] if plain_runs else None
    best = selected.runs[min(paired or selected.runs)]
    return StudyResult(best, plain, status.config.claims_gain)


def claim_of(status: StudyStatus) -> str:
    """Return the conclusion about that density, in a sentence."""
    confirmation = status.confirmation
    if confirmation and confirmation.selected:
        return confirmation.claim
    return CLAIM if status.config.claims_gain else f"{CLAIM}; {NOT_TUNED}"


def render(entries: Sequence[dict[str, Any]], form: Format) -> str:
    """Return the entries as text that ends with a newline.

    yaml and json hold everything, csv one line per density and metric in full precision; md and
    tex are tables to read.
    """
    if form == "json":
        return json.dumps(list(entries), indent=2) + "\n"
    if form != "yaml":
        writers = {"csv": comma_separated, "md": markdown, "tex": tex}
        return writers[form](entries)
    return yaml.safe_dump(list(entries), sort_keys=False, allow_unicode=True)


def _own_unit(config: StudyConfig) -> dict[str, str]:
    return {"unit": config.objective.unit} if config.objective.unit else {}


def _entry(status: StudyStatus, result: StudyResult) -> dict[str, Any]:
    config = status.config
    metric = config.objective.metric
    confirmation = status.confirmation
    selected = confirmation.selected if confirmation else None
    return {
        "study": config.study,
        "architecture": config.model.name,
        "kernel_size": config.kernel_size,
        **Point(*selected_point(status, result)).plain(),
        **_sites(config),
        "claim": claim_of(status),
        "objective": {"metric": metric, "direction": config.direction, **_own_unit(config)},
        "best": _trial(result.best),
        "plain": _trial(result.plain) if result.plain else None,
        "difference": {
            "validation": result.difference,
            "test": result.test_difference(metric),
        },
        "seeds": len(selected.runs) if selected else 1,
        "confirmation": confirmation_json(confirmation, bootstrap=True) if confirmation else None,
        "surrogate": surrogate_json(status),
        "proposals": asdict(status.proposals),
        "pruning": pruning_json(status),
        "trials": {str(state): number for state, number in status.counts.items() if number},
        "provenance": {
            "wconv_sweep": status.version,
            "config_sha256": config.digest(),
            **status.provenance,
            **result.best.provenance,
        },
    }


def _sites(config: StudyConfig) -> dict[str, Any]:
    """Return the layers that the density is for, unless it is for all of its size."""
    return {} if config.sites == SitesSpec() else {"sites": config.sites.model_dump()}


def _trial(row: TrialRow) -> dict[str, Any]:
    return {
        "trial": row.trial,
        **(row.point or Point(())).plain(),
        "validation": row.value,
        "metrics": dict(row.metrics),  # a copy, which YAML would otherwise write as a reference
    }
