"""Draws results on the terminal: the only module that knows rich."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wconv_sweep.amounts import amount as _amount
from wconv_sweep.amounts import density_text as _density
from wconv_sweep.amounts import title as _title
from wconv_sweep.cli.confirmation_view import confirmation_line, confirmation_table
from wconv_sweep.cli.jobs_view import jobs_json, jobs_lines
from wconv_sweep.evidence.findings import confirmation_json, pruning_json
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.status import StudyStatus
from wconv_sweep.slurm.jobs import SlurmView
from wconv_sweep.storage.tables import SlotState, StudyState

if TYPE_CHECKING:
    # It loads Optuna, which status does not need.
    from wconv_sweep.slots.retry import Retried


def console() -> Console:
    """Return the console for results: plain text in unbroken lines where stdout is no terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=10_000)


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2))


def print_error(message: str) -> None:
    """Print each line of an error to stderr."""
    lines = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in message.splitlines():
        lines.print(f"wconv-sweep: {line}", markup=False)


@contextmanager
def progress(out: Console) -> Iterator[Callable[[StudyStatus], None]]:
    """Give a function that shows a status: a live display, or a line per change without a tty."""
    if out.is_terminal:
        with Live(console=out, refresh_per_second=4, transient=True) as live:
            yield lambda status: live.update(status_view(status))
    else:
        yield _ChangePrinter(out)


def status_view(status: StudyStatus, jobs: SlurmView | None = None) -> Group:
    """Return what `status` and the progress display show of one study.

    Args:
        status: of the study.
        jobs: its pilots in SLURM, where it has had any.
    """
    parts: list[Any] = [_headline(status), _bar(status)]
    if status.word == "stalled":
        command = f"wconv-sweep resume --study {status.study}"
        parts.append(Text(f"no agent has been heard of for a while; go on with: {command}", "red"))
    if status.reason:
        breaker = status.state is StudyState.BROKEN
        what = "stopped by the circuit breaker: " if breaker else ""
        parts.append(Text(f"{what}{status.reason}", style="red"))
    if status.counts_gpus:
        parts.append(Text(_gpu_hours(status)))
    if jobs is not None:
        parts += [Text(line) for line in jobs_lines(jobs)]
        parts += [Text(f"warning: {warning}", "yellow") for warning in jobs.warnings]
    if status.running:
        parts.append(_running_table(status))
    result = status.result
    if result is not None:
        parts.append(_best_line(status, result))
    if status.confirmation is not None:
        parts.append(Text(confirmation_line(status.confirmation)))
    pruning = pruning_json(status)
    if pruning is not None:
        parts.append(
            Text(f"pruning saved {pruning['saved']} of {pruning['epochs_without']} epochs")
        )
    for failure in status.failures:
        parts.append(
            Text(f"{failure.count} x {failure.error} at {failure.place}: {failure.reason}", "red")
        )
    return Group(*parts)


def print_status(
    out: Console, statuses: Sequence[StudyStatus], jobs: Sequence[SlurmView | None]
) -> None:
    """Print studies in full, with the first traceback of each kind of failure.

    Args:
        out: to print to.
        statuses: of the studies.
        jobs: of each study, its pilots in SLURM.
    """
    for status, of_it in zip(statuses, jobs, strict=True):
        out.print(status_view(status, of_it))
        for failure in status.failures:
            if failure.traceback:
                out.print(Text(failure.traceback.rstrip()), style="dim", soft_wrap=True)


def status_json(status: StudyStatus, jobs: SlurmView | None = None) -> dict[str, Any]:
    """Return a status as plain data; without `jobs`, nothing about pilots in SLURM."""
    result = status.result
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
        "running": [_row_json(row) for row in status.running],
        "best": _row_json(result.best) if result else None,
        "plain": _row_json(result.plain) if result and result.plain else None,
        "difference": result.difference if result else None,
        "confirmation": confirmation_json(status.confirmation) if status.confirmation else None,
        "pruning": pruning_json(status),
        "failures": [
            {
                "error": failure.error,
                "place": failure.place,
                "count": failure.count,
                "reason": failure.reason,
                "traceback": failure.traceback,
            }
            for failure in status.failures
        ],
    }


def retried_line(retried: "Retried") -> str:
    """Return what `retry` did with one trial."""
    label = f" ({retried.label})" if retried.label else ""
    begin = f"goes on after epoch {retried.epoch}" if retried.epoch else "begins anew"
    return (
        f"trial {retried.trial}{label}, density {_density(retried.density)}: open again, "
        f"{begin}; it had failed with {retried.reason}"
    )


def retried_json(retried: "Retried") -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "trial": retried.trial,
        "label": retried.label,
        "density": None if retried.density is None else list(retried.density),
        "epoch": retried.epoch,
        "reason": retried.reason,
    }


def print_result(out: Console, status: StudyStatus, next_commands: Sequence[str]) -> None:
    """Print the table that a study ends with, and what to run next."""
    result = status.result
    assert result is not None
    metric = status.config.objective.metric
    out.print()
    confirmation = status.confirmation
    out.print(confirmation_table(confirmation) if confirmation else _result_table(status, result))
    counts = status.counts
    if confirmation is not None:
        named = confirmation.named
        density = "the density" if named is None else f"{_density(named.density)}"
        verdict = f"{density} (*): {confirmation.claim}."
    elif result.best is result.plain:
        verdict = "No density tried beat plain convolution on the validation part."
    else:
        against = (
            "the plain baseline failed"
            if result.difference is None
            else f"{_amount(metric, result.difference, signed=True)} against plain convolution"
        )
        verdict = (
            f"The best was chosen on the validation part ({against}); it is one run of one seed, "
            "so part of its lead may be luck."
        )
    pruned = "".join(
        f"{counts[state]} {state}, "
        for state in (SlotState.PRUNED, SlotState.SKIPPED)
        if counts[state]
    )
    out.print(
        f"{counts[SlotState.COMPLETE]} trials complete, {pruned}{counts[SlotState.FAILED]} "
        f"failed. {verdict}",
        soft_wrap=True,
    )
    out.print("\nNext:")
    for command in next_commands:
        out.print(f"  {command}", markup=False, soft_wrap=True)


class _ChangePrinter:
    """Prints one line whenever a trial has reported an epoch or ended."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._seen: dict[int, tuple[SlotState, int]] = {}

    def __call__(self, status: StudyStatus) -> None:
        for row in status.trials:
            now = row.state, row.epoch
            waits = row.state is SlotState.OPEN or row.trial is None
            if waits or self._seen.get(row.position) == now:
                continue
            self._seen[row.position] = now
            self._out.print(
                f"[{status.ended}/{status.budget}] {_trial_line(status, row)}{_left(status)}",
                markup=False,
                soft_wrap=True,
            )


def _headline(status: StudyStatus) -> Text:
    words = {SlotState.LEASED: "running"}
    counts = ", ".join(
        f"{number} {words.get(state, state)}" for state, number in status.counts.items() if number
    )
    return Text(f"{status.study}: {status.word} ({counts})", style="bold")


def _bar(status: StudyStatus) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_row(
        ProgressBar(total=status.budget, completed=status.ended, width=40),
        f"{status.ended}/{status.budget} trials{_left(status)}",
    )
    return table


def _gpu_hours(status: StudyStatus) -> str:
    usage = status.usage
    cap = "" if usage.cap_h is None else f" of {usage.cap_h:g}"
    expected = f", about {usage.trial_h:.2f} a trial" if usage.trial_h else ""
    capped = "; the next trial would pass the limit" if status.capped else ""
    return f"GPU-hours: {usage.spent_h:.2f}{cap}{expected}{capped}"


def _gpu_hours_json(status: StudyStatus) -> dict[str, Any]:
    if not status.counts_gpus:
        return {}
    usage = status.usage
    return {
        "gpu_hours": {
            "spent": usage.spent_h,
            "cap": usage.cap_h,
            "of_pilots": usage.pilots_h,
            "of_trials": usage.attempts_h,
            "expected_per_trial": usage.trial_h,
        }
    }


def _left(status: StudyStatus) -> str:
    if status.complete or status.seconds_left is None or not status.running:
        return ""
    minutes, seconds = divmod(round(status.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f", about {clock} left"


def _running_table(status: StudyStatus) -> Table:
    metric = status.config.objective.metric
    table = Table(box=None, pad_edge=False)
    for column in ("trial", "density", "epoch", _title(metric), "attempt"):
        table.add_column(column, justify="right")
    for row in status.running:
        table.add_row(
            str(row.trial),
            _density(row.density),
            f"{row.epoch}/{status.config.recipe.epochs}",
            _amount(metric, row.value),
            str(row.attempt),
        )
    return table


def _trial_line(status: StudyStatus, row: TrialRow) -> str:
    metric = status.config.objective.metric
    label = f" ({row.label})" if row.label else ""
    state = "" if row.state is SlotState.LEASED else f", {row.state}"
    reason = f": {row.reason}" if row.reason else ""
    return (
        f"trial {row.trial}{label}, density {_density(row.density)}, epoch "
        f"{row.epoch}/{status.config.recipe.epochs}, {_title(metric)} "
        f"{_amount(metric, row.value)}{state}{reason}"
    )


def _best_line(status: StudyStatus, result: StudyResult) -> Text:
    metric = status.config.objective.metric
    name = "plain convolution " if result.best is result.plain else ""
    density = _density(result.best.density)
    text = f"best so far: {name}{density} {_amount(metric, result.best.value)}"
    if result.plain is not None and result.plain is not result.best:
        text += (
            f", plain convolution {_amount(metric, result.plain.value)}, difference "
            f"{_amount(metric, result.difference, signed=True)} (one seed, not confirmed)"
        )
    return Text(text)


def _result_table(status: StudyStatus, result: StudyResult) -> Table:
    metric = status.config.objective.metric
    table = Table(title=f"{status.study}: {_title(metric)} on the test part", title_justify="left")
    table.add_column("")
    table.add_column("density", justify="right")
    table.add_column(_title(metric), justify="right")
    tested = f"test_{metric}"
    if result.best is not result.plain:
        table.add_row(
            "best density",
            _density(result.best.density),
            _amount(metric, result.best.metrics.get(tested)),
        )
    if result.plain is not None:
        plain = result.plain
        table.add_row(
            "plain baseline",
            _density(plain.density),
            _amount(metric, plain.metrics.get(tested)),
        )
    unprocessed = result.best.metrics.get(f"input_{metric}")
    if unprocessed is not None:
        table.add_row("noisy input", "", _amount(metric, unprocessed))
    difference = result.test_difference(metric)
    if difference is not None and result.best is not result.plain:
        table.add_row("best - plain", "", _amount(metric, difference, signed=True))
    return table


def _row_json(row: TrialRow) -> dict[str, Any]:
    return {
        "trial": row.trial,
        "label": row.label,
        "state": str(row.state),
        "density": None if row.density is None else list(row.density),
        "attempt": row.attempt,
        "epoch": row.epoch,
        "value": row.value,
        "metrics": row.metrics,
    }
