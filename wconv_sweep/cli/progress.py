"""Shows the progress of a study that is followed: a live display, or a line per change."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live

from wconv_sweep.amounts import amount as _amount
from wconv_sweep.amounts import density_text as _density
from wconv_sweep.amounts import title as _title
from wconv_sweep.cli.views.status import headline, left_text, status_view
from wconv_sweep.evidence.results import TrialRow
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.storage.tables import SlotState

ROWS = (None, 8, 4, 2, 1)
"""Rows of each table in ever shorter displays; None stands for all."""


@contextmanager
def progress(out: Console) -> Iterator[Callable[[StudyStatus], None]]:
    """Yield a function that shows a status: a live display, or a line per change without a tty."""
    if out.is_terminal:
        with Live(console=out, refresh_per_second=1, transient=True) as live:
            yield lambda status: live.update(
                fitting(out, (status_view(status, rows=rows) for rows in ROWS))
            )
    else:
        yield ChangePrinter(out)


def fitting(out: Console, pictures: Iterable[Group]) -> Group:
    """Return the first of some displays that fits the lines of a terminal, or the last one.

    Args:
        out: the terminal.
        pictures: from the longest to the shortest.
    """
    for picture in pictures:
        if len(out.render_lines(picture, pad=False)) <= out.height:
            break
    return picture


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
                f"[{status.ended}/{status.budget}] {_trial_line(status, row)}{left_text(status)}"
            )
        if self._word is not None and self._word != status.word:
            self._word = status.word
            self._print(headline(status).plain)

    def _print(self, line: str) -> None:
        self._out.print(line, markup=False, soft_wrap=True)


def _reported(status: StudyStatus) -> dict[int, tuple[SlotState, int]]:
    return {row.position: (row.state, row.epoch) for row in status.trials}


def _trial_line(status: StudyStatus, row: TrialRow) -> str:
    metric = status.config.objective.metric
    label = f" ({row.called})" if row.called else ""
    state = "" if row.state is SlotState.LEASED else f", {row.state}"
    reason = f": {row.reason}" if row.reason else ""
    return (
        f"trial {row.trial}{label}, density {_density(row.density, row.settings)}, epoch "
        f"{row.epoch}/{status.config.recipe.epochs}, {_title(metric)} "
        f"{_amount(metric, row.value, status.config.objective.unit)}{state}{reason}"
    )
