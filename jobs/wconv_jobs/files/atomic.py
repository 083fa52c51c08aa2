"""Files and folders that appear at once: a reader sees the old content or the new, never a part.

What is written goes under a name of its own first, since another process may write the same file
at the same time, and is renamed in the end, which any file system does at once. Nothing else
stays, also after a failure.

Importing this module does not import torch.
"""

import errno
import glob
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_KEPT = 40
"""Characters of a name that a temporary one keeps: names have 255 bytes, a character up to 4."""


def replace_file(
    path: Path, content: bytes | str, *, mode: int | None = None, durable: bool = False
) -> None:
    """Write a file, or replace the one that is there. Of two writers the later one wins.

    Args:
        path: of the file; its folder is there.
        content: all of it; a text is written as UTF-8.
        mode: permissions of the file, which it has from its first byte on; None: those that the
            user's umask leaves.
        durable: also after a power cut there is the old content or the new.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, mode: int | None = None, durable: bool = False) -> Iterator[BinaryIO]:
    """Give the file that becomes `path` when the block ends; see `replace_file`."""
    unfinished = unfinished_name(path)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
    descriptor = os.open(unfinished, flags, 0o666 if mode is None else mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
        if durable:
            sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def place_new(unfinished: Path, path: Path) -> None:
    """Give a complete file its name, unless something has that name; `unfinished` may stay.

    Raises:
        FileExistsError: something has it.
        OSError: it cannot be written.
    """
    try:
        os.link(unfinished, path)  # unlike a rename, replaces nothing
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        path.open("xb").close()
        try:
            unfinished.replace(path)
        except OSError:
            path.unlink()
            raise


def create_folder_once(
    path: Path,
    fill: Callable[[Path], None],
    *,
    durable: bool = False,
    is_complete: Callable[[Path], bool] = Path.is_dir,
) -> None:
    """Make a folder whole or not at all, unless it is there.

    Any number of processes and nodes may call this at once: the first one wins, and the others
    throw their own away. File locks do not reach from node to node everywhere. What a process of
    this machine has left behind that was killed meanwhile is removed.

    Args:
        path: of the folder; its parent is made where it is missing.
        fill: fills the empty folder that it is given, and raises what keeps it from becoming
            `path`.
        durable: also after a power cut the folder is whole or not there.
        is_complete: returns whether what is at `path` is such a folder.

    Raises:
        FileExistsError: something else is at `path`.
        OSError: it cannot be written.
    """
    if is_complete(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f".{path.name}.{platform.node()}."
    _remove_leftovers(path.parent, own)
    unfinished = path.with_name(f"{own}{os.getpid()}.{secrets.token_hex(4)}")
    unfinished.mkdir()
    try:
        fill(unfinished)
        if durable:
            for inside in [*unfinished.rglob("*"), unfinished]:
                sync(inside)
        _rename(unfinished, path, is_complete)
        if durable:
            sync(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def unfinished_name(path: Path) -> Path:
    """Return a name beside a file that no other process takes, for what is to become the file."""
    return path.with_name(f".{path.name[:_KEPT]}.{secrets.token_hex(4)}")


def sync(path: Path) -> None:
    """Bring a file or the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(unfinished: Path, path: Path, is_complete: Callable[[Path], bool]) -> None:
    try:
        unfinished.rename(path)
    except OSError as error:
        if is_complete(path):
            return  # another process was faster
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise


def _remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove unfinished folders of this machine whose process has ended; nothing is known of
    those of others."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        pid = path.name.removeprefix(prefix).partition(".")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)
