"""A copy that is made once, by whoever comes first, and then stays as it is."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path


def copy_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Make a folder whole or not at all, unless it is there; return it.

    Any number of processes may call this at once: its name says what is in it, so that it does
    not matter whose copy stays.

    Args:
        target: the folder.
        fill: makes the folder that it is given, and raises what keeps it from becoming `target`.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        fill(unfinished)
        try:
            os.rename(unfinished, target)
        except OSError:
            # Another process was faster.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
