"""Checks whether the pilots of several nodes can share a storage."""

from pathlib import Path

from sqlalchemy import URL

from wconv_sweep.errors import StorageError
from wconv_sweep.storage.filesystem import network_filesystem
from wconv_sweep.storage.url import is_local_server, is_sqlite


def check_shared(url: URL, nodes: int, mountinfo: str | None = None) -> None:
    """Raise `StorageError` if pilots on `nodes` nodes cannot all use the storage.

    Args:
        url: of the storage, without a password.
        nodes: on which pilots run, the one of this process not among them unless it is one.
        mountinfo: for tests, see `network_filesystem`.
    """
    if nodes <= 1:
        return
    name = url.render_as_string(hide_password=True)
    remedy = (
        "Run `wconv-sweep db start --host NAME`, which starts a PostgreSQL of your own on one of "
        "this machine's names, and use the storage that it names."
    )
    if is_sqlite(url):
        kind = network_filesystem(_path(url), mountinfo)
        where = f", also on {kind}" if kind else ""
        raise StorageError(
            f"{name}: an SQLite file cannot be used from {nodes} nodes{where}: they share "
            f"no memory, and writes get lost. {remedy}"
        )
    if is_local_server(url):
        raise StorageError(
            f"{name}: leads every one of the {nodes} nodes to itself. Name the server by "
            f"a name that all nodes know. {remedy}"
        )


def local_disk_advice(url: URL, mountinfo: str | None = None) -> str | None:
    """Return a warning about an SQLite file on a network file system; None otherwise."""
    kind = network_filesystem(_path(url), mountinfo) if is_sqlite(url) else None
    if kind is None:
        return None
    return (
        f"{_path(url)}: lies on a network file system ({kind}), where SQLite may fail or lose "
        "writes. Put it on a local disk with --storage, or run `wconv-sweep db start`."
    )


def _path(url: URL) -> Path:
    assert url.database is not None
    return Path(url.database)
