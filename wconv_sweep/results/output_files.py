"""Writes files for the user: whole or not at all, and none in the place of another unasked."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from wconv_sweep.errors import ConfigurationError


def write_files(contents: Mapping[Path, bytes], *, force: bool) -> None:
    """Write several files, each of them atomically.

    Args:
        contents: by path; folders are made where they are missing.
        force: replace files that are there.

    Raises:
        ConfigurationError: one is there and `force` is False, then nothing is written; or one
            cannot be written.
    """
    there = [path for path in contents if path.exists()]
    if there and not force:
        raise ConfigurationError(
            [f"{path}: exists already. Replace it with --force." for path in there]
        )
    for path, content in contents.items():
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
