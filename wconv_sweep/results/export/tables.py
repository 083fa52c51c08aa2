"""An export as tables: one to read, in Markdown or LaTeX, and one to compute with, as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wconv_sweep.amounts import amount, title, with_settings
from wconv_sweep.evidence.findings import score_row
from wconv_sweep.evidence.score_rows import Column as ScoreColumn
from wconv_sweep.evidence.score_rows import ScoreDifference, ScoreRow, cell
from wconv_sweep.results.text_tables import (
    Column,
    Table,
    markdown_table,
    tex_escaped,
    tex_table,
)

Entry = Mapping[str, Any]

_CSV_COLUMNS = (
    "study",
    "architecture",
    "kernel_size",
    "stage",
    "label",
    "selected",
    "density",
    "metric",
    "seed_indices",
    "seeds",
    "mean",
    "sd",
    "difference",
    "difference_sd",
    "level",
    "interval_low",
    "interval_high",
    "bootstrap_low",
    "bootstrap_high",
    "verdict",
)

_SCORE_COLUMNS: tuple[ScoreColumn, ...] = (
    *("metric", "network", "density", "seeds", "mean", "sd", "difference", "level", "interval"),
    "bootstrap interval",
)
_COMPARED: tuple[ScoreColumn, ...] = ("difference", "interval")


def markdown(entries: Sequence[Entry]) -> str:
    """Return the best densities, then the scores of each study, as Markdown."""
    parts = [f"## {table.title}\n\n{markdown_table(table)}\n" for table in _tables(entries)]
    parts.append("## Conclusions\n\n" + "".join(f"* {line}\n" for line in _sentences(entries)))
    return "\n".join(parts)


def tex(entries: Sequence[Entry]) -> str:
    """Return the same as a fragment of LaTeX for \\input that needs no package."""
    items = "".join(f"  \\item {tex_escaped(line)}\n" for line in _sentences(entries))
    parts = [tex_table(table) for table in _tables(entries)]
    return "\n".join([*parts, f"\\begin{{itemize}}\n{items}\\end{{itemize}}\n"])


def comma_separated(entries: Sequence[Entry]) -> str:
    """Return a line per density and metric, in full precision.

    The stage `search` is that of single runs, `confirm` and `ablation` those of fresh seeds;
    differences are those to plain convolution. Where other keys were searched together with the
    density, `settings` has their values.
    """
    text, columns = io.StringIO(), list(_CSV_COLUMNS)
    if any("settings" in entry for entry in entries):
        columns.insert(columns.index("density") + 1, "settings")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        of_study = {key: entry[key] for key in ("study", "architecture", "kernel_size")}
        writer.writerows(of_study | row for row in _runs(entry))
        writer.writerows(of_study | row for row in _arms(entry))
    return text.getvalue()


# Tables to read --------------------------------------------------------------------------------


def _tables(entries: Sequence[Entry]) -> Iterator[Table]:
    yield _best(entries)
    for entry in entries:
        if entry["confirmation"] is not None:
            yield _scores(entry)


def _best(entries: Sequence[Entry]) -> Table:
    headings = ("study", "architecture", "kernel", "density", "seeds", "metric", "plain")
    numeric = ("density", "seeds", "plain", "weighted", "difference", "interval")
    return Table(
        "Best densities",
        tuple(
            Column(name, name in numeric)
            for name in (*headings, "weighted", "difference", "interval")
        ),
        tuple(tuple(_best_cells(entry)) for entry in entries),
    )


def _best_cells(entry: Entry) -> Iterator[str]:
    size = entry["kernel_size"]
    metric = f"test_{entry['objective']['metric']}"
    yield from (entry["study"], entry["architecture"], f"{size}x{size}")
    yield _density(entry["density"]) + with_settings(entry.get("settings", {}).items())
    yield str(entry["seeds"])
    yield title(metric)
    own_unit = _own_unit(entry, metric)
    confirmation = entry["confirmation"]
    candidates = confirmation["candidates"] if confirmation else ()
    selected = next((arm for arm in candidates if arm["selected"]), None)
    if selected is None:
        plain = entry["plain"]
        yield amount(metric, plain["metrics"].get(metric) if plain else None, own_unit)
        yield amount(metric, entry["best"]["metrics"].get(metric), own_unit)
        yield amount(metric, entry["difference"]["test"], own_unit, signed=True)
        yield "-"
        return

    def shown(arm: Entry, column: ScoreColumn) -> str:
        return cell(score_row(arm, metric, own_unit), column) if metric in arm["metrics"] else "-"

    yield shown(confirmation["plain"], "mean")
    yield shown(selected, "mean")
    for column in _COMPARED:
        yield shown(selected, column)


def _own_unit(entry: Entry, metric: str) -> str | None:
    """Return the unit that the study gives a metric, as `StudyConfig.own_unit` does."""
    objective = entry["objective"]
    is_objective = metric.removeprefix("test_") == objective["metric"]
    return objective.get("unit") if is_objective else None


def _scores(entry: Entry) -> Table:
    confirmation = entry["confirmation"]
    arms = (*_plains(confirmation), *confirmation["candidates"], *confirmation["ablation"])
    metrics = dict.fromkeys(
        metric for arm in arms for metric in arm["metrics"] if metric.startswith("test_")
    )
    rows = [
        score_row(arm, metric, _own_unit(entry, metric))
        for metric in metrics
        for arm in arms
        if metric in arm["metrics"]
    ]
    return Table(
        f"{entry['study']}: scores of the test set over fresh seeds",
        tuple(Column(name, name not in ("metric", "network")) for name in _SCORE_COLUMNS),
        tuple(tuple(_score_cell(row, name) for name in _SCORE_COLUMNS) for row in rows),
    )


def _plains(confirmation: Mapping[str, Any]) -> list[Any]:
    """Return plain convolution, the selected one of its candidates first."""
    return [confirmation["plain"], *confirmation.get("plain_candidates", [])]


def _score_cell(row: ScoreRow, column: ScoreColumn) -> str:
    if column == "density":
        return _density(row.density) + with_settings(row.settings)
    selected = " (selected)" if column == "network" and row.is_selected else ""
    return cell(row, column) + selected


def _sentences(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        sentence = f"{entry['study']}: {entry['claim']}."
        confirmation = entry["confirmation"]
        if confirmation is not None:
            seeds = confirmation["seeds"]
            numbers = ", ".join(map(str, seeds["indices"])) or "none yet"
            sentence += f" Seed indices of seed {seeds['study_seed']}: {numbers}."
        yield sentence


# Rows to compute with --------------------------------------------------------------------------


def _runs(entry: Entry) -> Iterator[dict[str, Any]]:
    for label in ("plain", "best"):
        run = entry[label]
        if run is None:
            continue
        for metric, value in sorted(run["metrics"].items()):
            yield {
                "stage": "search",
                "label": label,
                "density": _joined(run["density"]),
                **_settings(run.get("settings", {}).items()),
                "metric": metric,
                "seeds": 1,
                "mean": value,
            }


def _arms(entry: Entry) -> Iterator[dict[str, Any]]:
    confirmation = entry["confirmation"]
    if confirmation is None:
        return
    arms = [("confirm", arm) for arm in _plains(confirmation)]
    arms += [("confirm", arm) for arm in confirmation["candidates"]]
    arms += [("ablation", arm) for arm in confirmation["ablation"]]
    for stage, arm in arms:
        for row in (score_row(arm, metric) for metric in arm["metrics"]):
            yield {
                "stage": stage,
                "label": row.label,
                "selected": "yes" if row.is_selected else "",
                "density": _joined(row.density),
                **_settings(row.settings),
                "metric": row.metric,
                "seed_indices": _joined(arm["seed_indices"]),
                "seeds": row.seeds,
                "mean": row.mean,
                "sd": row.sd,
                **_difference(row.difference),
            }


def _difference(difference: ScoreDifference | None) -> dict[str, Any]:
    if difference is None:
        return {}
    low, high = difference.interval or (None, None)
    bootstrap_low, bootstrap_high = difference.bootstrap or (None, None)
    return {
        "difference": difference.mean,
        "difference_sd": difference.sd,
        "level": difference.level,
        "interval_low": low,
        "interval_high": high,
        "bootstrap_low": bootstrap_low,
        "bootstrap_high": bootstrap_high,
        "verdict": difference.verdict,
    }


def _density(density: Sequence[float]) -> str:
    text = ", ".join(f"{value:.4g}" for value in density)
    return text if len(density) == 1 else f"({text})"


def _settings(settings: Iterable[tuple[str, object]]) -> dict[str, str]:
    text = " ".join(f"{key}={value}" for key, value in settings)
    return {"settings": text} if text else {}


def _joined(values: Sequence[float]) -> str:
    return " ".join(repr(value) for value in values)
