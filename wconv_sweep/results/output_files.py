"""Writes files for the user: all of them or none, and none in the place of another unasked."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wconv_sweep.errors import ConfigurationError


def write_files(contents: Mapping[Path, bytes], *, force: bool) -> None:
    """Write several files, each of them atomically.

    A link is followed, so that it still leads to what was written.

    Args:
        contents: by path; folders are made where they are missing.
        force: replace files that are there.

    Raises:
        ConfigurationError: one is there and `force` is False, one is a folder or a device, or one
            cannot be written; then nothing is written.
    """
    problems = [problem for path in contents if (problem := _in_the_way(path, force=force))]
    if problems:
        raise ConfigurationError(problems)
    unfinished: dict[Path, Path] = {}
    try:
        # All are complete before the first takes its place: a full disk leaves no half of them.
        for path, content in contents.items():
            with _naming(path):
                target = Path(os.path.realpath(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
                with beside.open("xb") as file:
                    unfinished[target] = beside
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        for target, complete in unfinished.items():
            with _naming(target):
                complete.replace(target)
    finally:
        for left in unfinished.values():
            left.unlink(missing_ok=True)


def _in_the_way(path: Path, *, force: bool) -> str | None:
    """Return why what is there is not replaced; None where it is, or nothing is there."""
    # Unlike Path.exists, these ask no name that is too long: it is told when it is written.
    if not os.path.exists(path):
        return None
    if not os.path.isfile(path):
        return f"{path}: is no file that could be replaced. Name another."
    return None if force else f"{path}: exists already. Replace it with --force."


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file that the user asked for when it cannot be written."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
