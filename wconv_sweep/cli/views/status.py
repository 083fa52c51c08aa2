"""Draws the progress of a study, for `status` and for a launch that is followed."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wconv_sweep.amounts import amount as _amount
from wconv_sweep.amounts import density_text as _density
from wconv_sweep.amounts import title as _title
from wconv_sweep.amounts import with_settings as _with
from wconv_sweep.cli.views.confirmation import confirmation_line
from wconv_sweep.cli.views.jobs import jobs_json, jobs_lines
from wconv_sweep.cli.views.pilots import agents_line, pilots_json, pilots_table
from wconv_sweep.evidence.confirmation import NOT_TUNED, noise_of_baseline
from wconv_sweep.evidence.failures import Failure
from wconv_sweep.evidence.findings import (
    confirmation_json,
    finished_elsewhere_text,
    moved_text,
    pruning_json,
    started_again_text,
)
from wconv_sweep.evidence.overview import StudyOverview
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.slurm.jobs import SlurmView
from wconv_sweep.storage.tables import SlotState, StudyState

_FEW_ROWS = 2


def status_view(
    status: StudyOverview,
    jobs: SlurmView | None = None,
    *,
    rows: int | None = None,
    tracebacks: bool = False,
) -> Group:
    """Return what `status` and the progress display show of one study.

    Args:
        status: of the study.
        jobs: its pilots in SLURM, where it has had any.
        rows: of each table, at most; None shows all running trials. Where there are few, the
            reasons of pilots stay SLURM's words.
        tracebacks: also show the first one of each kind of failure.
    """
    parts: list[Any] = [headline(status), _bar(status)]
    if status.word == "stalled":
        parts.append(Text("no heartbeat from any agent; run `resume`", "red"))
    if status.reason:
        breaker = status.state is StudyState.BROKEN
        what = "stopped by the circuit breaker: " if breaker else ""
        parts.append(Text(f"{what}{status.reason}", style="red"))
    if status.counts_gpus:
        parts.append(Text(_gpu_hours(status)))
    if jobs is not None:
        spacious = rows is None or rows > _FEW_ROWS
        parts += [Text(line) for line in jobs_lines(jobs, meanings=spacious)]
        parts += [Text(f"warning: {warning}", "yellow") for warning in jobs.warnings]
    elif line := agents_line(status):
        parts.append(Text(line))
    if status.counts_gpus and status.pilots:
        parts.append(pilots_table(status.pilots, rows))
    if status.running:
        parts.append(_running_table(status, rows))
    result = status.result
    if result is not None:
        parts.append(_best_line(status, result))
    if status.confirmation is not None:
        parts.append(Text(confirmation_line(status.confirmation)))
    moved = moved_text(status)
    if moved is not None:
        parts.append(Text(moved))
    for finding in (started_again_text(status), finished_elsewhere_text(status)):
        if finding is not None:
            parts.append(Text(finding, "yellow"))
    pruning = pruning_json(status)
    if pruning is not None:
        parts.append(
            Text(f"pruning saved {pruning['saved']} of {pruning['epochs_without']} epochs")
        )
    for failure in status.failures:
        parts.append(
            Text(f"{failure.count} x {failure.error} at {failure.where}: {failure.reason}", "red")
        )
        if tracebacks and failure.traceback:
            parts.append(Traceback(failure))
    return Group(*parts)


def brief_view(status: StudyOverview) -> Text:
    """Return a study's state and its failures in one line, for small terminals."""
    failures = sum(failure.count for failure in status.failures)
    return headline(status).append(f", {failures} broken attempt(s)" if failures else "", "red")


def print_status(
    out: Console, statuses: Sequence[StudyOverview], jobs: Sequence[SlurmView | None]
) -> None:
    """Print studies in full, with the first traceback of each kind of failure.

    Args:
        out: to print to.
        statuses: of the studies.
        jobs: of each study, its pilots in SLURM.
    """
    for status, of_it in zip(statuses, jobs, strict=True):
        for part in status_view(status, of_it, tracebacks=True).renderables:
            # Lines of a traceback are not broken, so that they can be copied.
            out.print(part, soft_wrap=isinstance(part, Traceback))


def statuses_json(
    statuses: Sequence[StudyOverview], jobs: Sequence[SlurmView | None]
) -> list[dict[str, Any]]:
    """Return the statuses of studies as plain data; see `status_json`."""
    return [status_json(status, of_it) for status, of_it in zip(statuses, jobs, strict=True)]


def status_json(status: StudyOverview, jobs: SlurmView | None = None) -> dict[str, Any]:
    """Return a status as plain data; without `jobs`, nothing about pilots in SLURM."""
    result = status.result
    confirmation = status.confirmation and confirmation_json(status.confirmation, bootstrap=False)
    return {
        "study": status.study,
        "state": status.word,
        "reason": status.reason,
        "budget": status.budget,
        "ended": status.ended,
        "slots": {str(state): number for state, number in status.counts.items()},
        "seconds_left": status.seconds_left,
        **_gpu_hours_json(status),
        **({} if jobs is None else {"pilots": jobs_json(jobs)}),
        "agents": asdict(status.agents),
        "running": [_row_json(row) for row in status.running],
        "best": _row_json(result.best) if result else None,
        "plain": _row_json(result.plain) if result and result.plain else None,
        "difference": result.difference if result else None,
        "confirmation": confirmation,
        "proposals": asdict(status.proposals),
        **(_of_program_json(status) if status.config.trainer else {}),
        "pruning": pruning_json(status),
        "failures": [
            {
                "error": failure.error,
                "where": failure.where,
                "count": failure.count,
                "reason": failure.reason,
                "traceback": failure.traceback,
            }
            for failure in status.failures
        ],
    }


def _of_program_json(status: StudyOverview) -> dict[str, int]:
    return {
        "started_again": status.started_again,
        "finished_elsewhere": status.finished_elsewhere,
    }


def headline(status: StudyOverview) -> Text:
    """Return the state of a study and its trials by state, in a line."""
    words = {SlotState.LEASED: "running"}
    counts = ", ".join(
        f"{number} {words.get(state, state)}" for state, number in status.counts.items() if number
    )
    return Text(f"{status.study}: {status.word} ({counts})", style="bold")


def _bar(status: StudyOverview) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_row(
        ProgressBar(total=status.budget, completed=status.ended, width=40),
        f"{status.ended}/{status.budget} trials{left_text(status)}",
    )
    return table


def _gpu_hours(status: StudyOverview) -> str:
    usage = status.usage
    cap = "" if usage.cap_h is None else f" of {usage.cap_h:g}"
    expected = f", about {status.trial_h:.2f} a trial" if status.trial_h else ""
    capped = "; the next trial would pass the limit" if status.capped else ""
    return f"GPU-hours: {usage.spent_h:.2f}{cap}{expected}{capped}"


def _gpu_hours_json(status: StudyOverview) -> dict[str, Any]:
    if not status.counts_gpus:
        return {}
    usage = status.usage
    return {
        "gpu_hours": {
            "spent": usage.spent_h,
            "cap": usage.cap_h,
            "of_pilots": usage.pilots_h,
            "of_trials": usage.attempts_h,
            "expected_per_trial": status.trial_h,
            "by_pilot": pilots_json(status.pilots),
        }
    }


def left_text(status: StudyOverview) -> str:
    """Return the estimated time to the end; empty if nothing is known or no pilot is running."""
    if status.complete or status.seconds_left is None or not status.running:
        return ""
    minutes, seconds = divmod(round(status.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f", about {clock} left"


class Traceback(Text):
    """Python's traceback of a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.traceback.rstrip(), "dim")


def _running_table(status: StudyOverview, rows: int | None) -> Table:
    metric = status.config.objective.metric
    table = Table(box=None, pad_edge=False)
    arms = ("arm",) if status.config.has_two_arms else ()
    for column in ("trial", *arms, "density", "epoch", _title(metric), "attempt"):
        table.add_column(column, justify="right")
    shown = status.running[:rows]
    for row in shown:
        table.add_row(
            str(row.trial),
            *(row.called for _ in arms),
            _density(row.density, row.settings),
            f"{row.epoch}/{status.config.recipe.epochs}",
            _amount(metric, row.value, status.config.objective.unit),
            str(row.attempt),
        )
    if len(shown) < len(status.running):
        table.add_row("", f"{len(status.running) - len(shown)} more")
    return table


def _best_line(status: StudyOverview, result: StudyResult) -> Text:
    metric, own_unit = status.config.objective.metric, status.config.objective.unit
    name = "plain convolution " if result.best is result.plain else ""
    density = _density(result.best.density, result.best.settings)
    text = f"best so far: {name}{density} {_amount(metric, result.best.value, own_unit)}"
    if result.plain is not None and result.plain is not result.best:
        text += (
            f", plain convolution{_with(result.plain.settings)} "
            f"{_amount(metric, result.plain.value, own_unit)}, "
        )
        text += (
            f"difference {_amount(metric, result.difference, own_unit, signed=True)} (one run "
            "each, not confirmed)"
            if result.is_compared
            else f"one run each; {NOT_TUNED}"
        )
    noise = noise_of_baseline(status.shown, metric)
    if noise is not None and noise.sd is not None:
        text += f"; sd of plain over {noise.seeds} seeds: {_amount(metric, noise.sd, own_unit)}"
    return Text(text)


def _row_json(row: TrialRow) -> dict[str, Any]:
    return {
        "trial": row.trial,
        "label": row.label,
        "state": str(row.state),
        **({"density": None} if row.point is None else row.point.plain()),
        **({} if row.arm is None else {"arm": str(row.arm)}),
        "attempt": row.attempt,
        "epoch": row.epoch,
        "value": row.value,
        "metrics": row.metrics,
    }
