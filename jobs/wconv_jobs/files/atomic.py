"""Writes files atomically: a reader sees the old content or the new, never a part.

Importing this module does not import torch.
"""

import secrets
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, or replace the one that is there; nothing else stays, also after a failure.

    It is written under a name of its own, since another process may write it at the same time: an
    attempt that was frozen may not know yet that it has lost its trial. The later one wins.

    Args:
        path: of the file; its folder is there.
        content: all of it.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
