"""The command `status`: the progress of studies, once or until they have ended."""

import contextlib
from typing import Annotated

import typer

from wconv_sweep.cli.options import (
    DEFAULT_RUNS,
    Json,
    MaybeStudyName,
    Runs,
    StorageUrl,
    next_command,
)

# Commands import their use case themselves: --help must answer at once.


def status_command(
    study: MaybeStudyName = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Keep showing it until every study has ended, or until Ctrl-C."
        ),
    ] = False,
    storage: StorageUrl = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show the progress of studies.

    Example: wconv-sweep status --study quickstart
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import status as status_view
    from wconv_sweep.evidence.overview import read_overviews
    from wconv_sweep.evidence.study_status import study_jobs
    from wconv_sweep.storage.open_storage import choose_url, open_storage

    url = choose_url(storage, runs)
    if watch:
        from wconv_sweep.cli.watch import screen_of, watch_studies

        def command(name: str) -> str:
            return next_command("status", storage, runs, name)

        with contextlib.suppress(KeyboardInterrupt), screen_of(command, as_json=as_json) as screen:
            watch_studies(url, study, screen)
        return
    with contextlib.closing(open_storage(url)) as opened:
        statuses = read_overviews(opened, study)
    jobs = study_jobs(statuses)
    if as_json:
        console.print_json(status_view.statuses_json(statuses, jobs))
    else:
        status_view.print_status(console.console(), statuses, jobs)
