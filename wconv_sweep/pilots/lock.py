"""The lock that a pilot on this machine holds on its number, for as long as it lives."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from wconv_sweep.run_folder import RunFolder

_TRIES = 10
_PAUSE_S = 0.1


def is_running(folder: RunFolder, pilot: int) -> bool:
    """Return whether a pilot of this number is running on this machine."""
    path = _lock_path(folder, pilot)
    if not path.exists():
        return False
    with path.open("r") as file:
        try:
            # Shared: two commands that look at the same time do not take each other for a pilot.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def pilot_lock(folder: RunFolder, pilot: int) -> Iterator[bool]:
    """Hold the lock of a pilot's number; yield False when another pilot holds it."""
    path = _lock_path(folder, pilot)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        # `is_running` holds the lock for a moment when it looks.
        for _ in range(_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE_S)
            else:
                yield True
                return
        yield False


def _lock_path(folder: RunFolder, pilot: int) -> Path:
    return folder.pilots / f"pilot_{pilot}.lock"
