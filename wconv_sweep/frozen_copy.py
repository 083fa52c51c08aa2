"""A copy that the first caller makes and that then never changes."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path


def copy_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Create a folder atomically, unless it exists; return it.

    Any number of processes may call this at once: the name is a digest of the content, so that it
    does not matter whose copy stays.

    Args:
        target: the folder.
        fill: fills the given folder; an exception keeps it from becoming `target`.
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
