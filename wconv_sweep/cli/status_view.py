"""Draws what is going on in a study, for `status` and for whoever follows a launch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wconv_sweep.amounts import amount as _amount
from wconv_sweep.amounts import density_text as _density
from wconv_sweep.amounts import title as _title
from wconv_sweep.cli.confirmation_view import confirmation_line
from wconv_sweep.cli.jobs_view import jobs_json, jobs_lines
from wconv_sweep.evidence.confirmation import noise_of_baseline
from wconv_sweep.evidence.findings import confirmation_json, pruning_json
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.status import StudyStatus
from wconv_sweep.slurm.jobs import SlurmView
from wconv_sweep.storage.tables import SlotState, StudyState


@contextmanager
def progress(out: Console) -> Iterator[Callable[[StudyStatus], None]]:
    """Give a function that shows a status: a live display, or a line per change without a tty."""
    if out.is_terminal:
        with Live(console=out, refresh_per_second=4, transient=True) as live:
            yield lambda status: live.update(status_view(status))
    else:
        yield ChangePrinter(out)


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
    elif any(asdict(status.agents).values()):
        parts.append(Text(_agents_line(status)))
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


def statuses_json(
    statuses: Sequence[StudyStatus], jobs: Sequence[SlurmView | None]
) -> list[dict[str, Any]]:
    """Return the statuses of studies as plain data; see `status_json`."""
    return [status_json(status, of_it) for status, of_it in zip(statuses, jobs, strict=True)]


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
        "agents": asdict(status.agents),
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


class ChangePrinter:
    """Prints a line whenever a trial has reported an epoch or ended, or the study's state changes.

    For `launch`, which says by itself how a study ended, trials alone.
    """

    def __init__(self, out: Console, begin: StudyStatus | None = None) -> None:
        """
        Args:
            out: to print to.
            begin: what has been shown before; None prints all trials, and no states.
        """
        self._out = out
        self._seen = _reported(begin) if begin else {}
        self._word = begin.word if begin else None

    def __call__(self, status: StudyStatus) -> None:
        for row in status.trials:
            now = row.state, row.epoch
            waits = row.state is SlotState.OPEN or row.trial is None
            if waits or self._seen.get(row.position) == now:
                continue
            self._seen[row.position] = now
            self._print(
                f"[{status.ended}/{status.budget}] {_trial_line(status, row)}{_left(status)}"
            )
        if self._word is not None and self._word != status.word:
            self._word = status.word
            self._print(_headline(status).plain)

    def _print(self, line: str) -> None:
        self._out.print(line, markup=False, soft_wrap=True)


def _reported(status: StudyStatus) -> dict[int, tuple[SlotState, int]]:
    return {row.position: (row.state, row.epoch) for row in status.trials}


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


def _agents_line(status: StudyStatus) -> str:
    agents = status.agents
    counts = {"at work": agents.working, "silent": agents.silent, "ended": agents.ended}
    known = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return f"pilots: {known}"


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
            f"{_amount(metric, result.difference, signed=True)} (one run each, not confirmed)"
        )
    noise = noise_of_baseline(status.trials, metric)
    if noise is not None and noise.sd is not None:
        text += f"; sd of plain over {noise.seeds} seeds: {_amount(metric, noise.sd)}"
    return Text(text)


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
