"""The address of a database server that runs as a job, published in the folder of all runs.

Its node, and with it its address, changes with each start. So the folder of the server is
published, which holds the current address.
"""

from pathlib import Path

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.errors import StorageError

_FILE = "database_server"


def publish(server: Path, runs: Path) -> None:
    """Let commands and pilots with this folder of runs use the server in a folder."""
    runs.mkdir(parents=True, exist_ok=True)
    replace_file(runs / _FILE, f"{server.absolute()}\n")


def was_published(server: Path, runs: Path) -> bool:
    """Return whether the server in a folder is the published one."""
    return _server(runs) == server.absolute()


def published_url(runs: Path) -> str | None:
    """Return the URL of the published server as it is now, without password; None if none is.

    Raises:
        StorageError: it has not run yet, or its folder is gone.
    """
    server = _server(runs)
    if server is None:
        return None
    try:
        return (server / "url").read_text("utf-8").strip()
    except OSError as error:
        raise StorageError(
            f"{server}: the database server that {runs / _FILE} names has not run yet, or is gone "
            f"({error.strerror}). `wconv-sweep db status` tells; `wconv-sweep db start --job` "
            "starts it. To use another storage, name it with --storage."
        ) from error


def _server(runs: Path) -> Path | None:
    try:
        return Path((runs / _FILE).read_text("utf-8").strip())
    except OSError:
        return None
