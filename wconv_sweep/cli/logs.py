"""The command that shows what the ranks of a trial printed: `logs`."""

import contextlib
import sys
from typing import Annotated

import typer

from wconv_sweep.cli.options import DEFAULT_RUNS, Runs, StorageUrl


def logs_command(
    trial: Annotated[
        int,
        typer.Argument(min=0, metavar="TRIAL", help="Number of the trial, as status shows it."),
    ],
    study: Annotated[str, typer.Option(metavar="NAME", help="A study that was launched.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new output until the attempt ends.")
    ] = False,
    rank: Annotated[
        int, typer.Option(min=0, metavar="N", help="Training process of the trial.")
    ] = 0,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Attempt (default: the last one).")
    ] = None,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Show what a trial printed, wherever it ran.

    The list of its attempts goes to stderr, the text to stdout.

    Example: wconv-sweep logs 3 --study quickstart
    """
    from wconv_sweep.results import trial_logs
    from wconv_sweep.storage.open_storage import choose_url, open_storage

    with contextlib.closing(open_storage(choose_url(storage, runs))) as opened:
        attempts = trial_logs.attempts_of(opened, study, trial)
        chosen = trial_logs.select_attempt(attempts, attempt)
        for each in attempts:
            mark = ">" if each is chosen else " "
            print(
                f"{mark} trial {trial}, attempt {each.attempt}: {each.outcome}, by {each.owner}, "
                f"in {each.folder}",
                file=sys.stderr,
            )
        if follow:

            def refresh() -> trial_logs.AttemptLog:
                now = trial_logs.attempts_of(opened, study, trial)
                return trial_logs.select_attempt(now, chosen.attempt)

            text = trial_logs.follow(chosen, rank, refresh)
        else:
            text = trial_logs.text_of(chosen, rank)
        shown = False
        with contextlib.suppress(KeyboardInterrupt):
            for part in text:
                print(part, end="", flush=True)
                shown = shown or bool(part)
        if not shown:
            print(f"rank {rank} has printed nothing", file=sys.stderr)
