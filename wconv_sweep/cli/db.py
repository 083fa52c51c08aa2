"""The commands about the database of studies: `db`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wconv_sweep.cli.help_sections import CommandWithArguments
from wconv_sweep.cli.options import DEFAULT_RUNS, Json, Runs, StorageUrl
from wconv_sweep.cli.pilot_options import takes_server_options
from wconv_sweep.cli.slurm_cluster import SlurmCluster, cluster_of
from wconv_sweep.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from wconv_sweep.clusters.pilot_request import JobRequest

FOLDER_NAME = "postgres"
_JOB_WALLTIME_MIN = 24 * 60

db = typer.Typer(
    help="Run a PostgreSQL server; back up and restore studies.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the server (default: postgres in --runs)."),
]
Server = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="Folder of a server of `db start`."),
]


@db.command("start")
@takes_server_options
def start_command(
    folder: Folder = None,
    *,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name or address of this machine to listen on (default: the previous value, else "
            "localhost).",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="TCP port; 0: a free one (default: the previous value, else a free one).",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="User that the server runs as, if you are root."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take the data over from a machine that cannot be reached."),
    ] = False,
    job: Annotated[
        bool,
        typer.Option(
            "--job",
            help="Run it as a SLURM job, for sites that kill long-running processes on login "
            "nodes; commands with the same --runs find it.",
        ),
    ] = False,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="With --job: end with this job, instead of letting another one go on when its "
            "time is up.",
        ),
    ] = False,
    request: "JobRequest",
    slurm_cluster: SlurmCluster = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Start a PostgreSQL server in a folder of yours.

    Creates the server at the first call; does nothing if it already runs. Prints how to use it as
    storage.

    Example: wconv-sweep db start
    """
    from wconv_sweep.server.folder import export_line
    from wconv_sweep.server.run import Started, start
    from wconv_sweep.server.run_as import owner_for, run_as

    request.check()
    place = _place(folder, runs)
    owner = owner_for(place, user, making=True)
    if job:
        _start_job(place, request, cluster_of(slurm_cluster), runs, once=once)
        return
    facts = run_as(owner, lambda: asdict(start(place, host, port, force=force, say=_note)))
    started = Started(**facts)
    for line in started.warnings:
        _note(f"warning: {line}")
    verb = "already runs" if started.already else "runs"
    print(f"PostgreSQL {started.version} {verb} on {started.address}, port {started.port}.")
    print(f"Its files: {place}")
    print(f"Storage:   {started.url}")
    print("To use it in this shell:")
    print(f"  {export_line(started.url)}")


@db.command("status")
def status_command(
    folder: Folder = None, runs: Runs = DEFAULT_RUNS, as_json: Json = False
) -> None:
    """Show whether the server runs, and where.

    Of a job, also which one goes on after it.

    Exit status 1 if it does not run.

    Example: wconv-sweep db status
    """
    from wconv_sweep.cli import console
    from wconv_sweep.cli.views import server as server_view
    from wconv_sweep.published import was_published
    from wconv_sweep.server.run_as import owner_for, run_as
    from wconv_sweep.server.server_status import ServerStatus, status

    place = _place(folder, runs)
    known = ServerStatus(**run_as(owner_for(place), lambda: asdict(status(place))))
    jobs = server_view.jobs_of_server(place) if was_published(place, runs) else None
    if as_json:
        console.print_json(server_view.server_json(known, jobs))
    else:
        server_view.print_server(known, jobs)
    if not known.running:
        raise typer.Exit(1)


@db.command("stop")
def stop_command(folder: Folder = None, runs: Runs = DEFAULT_RUNS) -> None:
    """Stop the server; no stored data are lost.

    Example: wconv-sweep db stop
    """
    from wconv_sweep.published import was_published
    from wconv_sweep.server.run import stop
    from wconv_sweep.server.run_as import owner_for, run_as
    from wconv_sweep.server.slurm import stop_server

    place = _place(folder, runs)
    owner = owner_for(place)
    if was_published(place, runs) and stop_server(place):
        print(f"{place}: its job has ended")
        return
    ran = run_as(owner, lambda: stop(place))
    print(f"{place}: {'stopped' if ran else 'was not running'}")


@db.command("backup", cls=CommandWithArguments)
def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    folder: Server = None,
    storage: StorageUrl = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Copy the database of studies to one file.

    Studies may run meanwhile.

    Example: wconv-sweep db backup studies.backup
    """
    from wconv_sweep.storage.backup import backup

    target = file.absolute()
    studies = _with_storage(folder, storage, runs, lambda url: backup(url, target, force=force))
    print(f"{file}: {_studies(studies)}")


@db.command("restore", cls=CommandWithArguments)
def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `db backup` wrote.")],
    folder: Server = None,
    storage: StorageUrl = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace all studies that the storage holds.")
    ] = False,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Restore a backup into an empty storage.

    Example: wconv-sweep db restore studies.backup
    """
    from wconv_sweep.storage.backup import restore

    source = file.absolute()
    studies = _with_storage(folder, storage, runs, lambda url: restore(url, source, force=force))
    print(f"{file}: {_studies(studies)}")


@db.command("upgrade")
def upgrade_command(
    folder: Server = None, storage: StorageUrl = None, runs: Runs = DEFAULT_RUNS
) -> None:
    """Upgrade the tables of a storage to this version.

    Make a backup first; no pilot may be running.

    Example: wconv-sweep db upgrade
    """
    from wconv_sweep.storage.open_storage import upgrade_storage

    before, after = upgrade_storage(_url(folder, storage, runs))
    if before == after:
        print(f"the tables already have version {after}")
    else:
        print(f"upgraded the tables from version {before} to {after}")


def _start_job(
    place: Path, request: "JobRequest", cluster: str | None, runs: Path, *, once: bool
) -> None:
    from wconv_sweep.published import publish
    from wconv_sweep.server.run_as import owner_for, run_as
    from wconv_sweep.server.server_status import ServerStatus, status
    from wconv_sweep.server.slurm import ServerRequest, job_of, submit_server, wait_for

    wanted = ServerRequest(
        options=request.options(),
        walltime_min=request.walltime_min or _JOB_WALLTIME_MIN,
        once=once,
        cluster=cluster,
    )
    there = job_of(place)
    number = there.job if there else submit_server(place, wanted)
    publish(place, runs)
    print(f"PostgreSQL {'is' if there else 'was submitted as'} job {number}.", flush=True)
    owner = owner_for(place)
    known = wait_for(
        place, lambda: ServerStatus(**run_as(owner, lambda: asdict(status(place)))), _note
    )
    print(f"It runs on {known.address}, port {known.port}.")
    print(f"Its files: {place}")
    print(f"Storage:   {known.url}")
    print(f"Commands with --runs {runs} use it automatically.")


def _place(folder: Path | None, runs: Path) -> Path:
    return (folder or runs / FOLDER_NAME).expanduser().absolute()


def _with_storage(
    folder: Path | None, storage: str | None, runs: Path, work: "Callable[[URL], int]"
) -> int:
    """Do the work with the chosen storage, as the user who owns its server."""
    from wconv_sweep.server.run_as import owner_for, run_as

    url = _url(folder, storage, runs)
    owner = None if folder is None else owner_for(_place(folder, runs))
    return int(run_as(owner, lambda: work(url)))


def _url(folder: Path | None, storage: str | None, runs: Path) -> "URL":
    from wconv_sweep.server.run_as import owner_for, run_as
    from wconv_sweep.server.server_status import url_of
    from wconv_sweep.storage.url import choose_url

    if folder is None:
        return choose_url(storage, runs)
    if storage is not None:
        raise ConfigurationError(
            "--folder and --storage both name a database. Give only one of them."
        )
    place = _place(folder, runs)
    return choose_url(run_as(owner_for(place), lambda: url_of(place)), runs)


def _studies(number: int) -> str:
    return f"{number} {'study' if number == 1 else 'studies'}"


def _note(line: str) -> None:
    print(f"wconv-sweep: {line}", file=sys.stderr, flush=True)
