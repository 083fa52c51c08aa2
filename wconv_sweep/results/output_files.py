"""Writes files for the user: atomically, and replacing no file without permission."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wconv_jobs.files.atomic import place_new, unfinished_name
from wconv_sweep.errors import ConfigurationError


@dataclass(frozen=True)
class _Complete:
    """A file that is written but not yet in its place."""

    path: Path
    """The path that the user gave."""
    target: Path
    """The same with links followed."""
    beside: Path
    """The temporary file."""


def write_files(contents: Mapping[Path, bytes], *, force: bool) -> None:
    """Write several files, each of them atomically.

    A link is followed, so that it still leads to what was written. All files are complete before
    the first takes its place, so that a full disk leaves none of them, nor the folders made for
    them. Only where putting one into its place itself fails do those before it stay, which the
    message names.

    Args:
        contents: by path; folders are made where they are missing.
        force: replace files that are there.

    Raises:
        ConfigurationError: one is there and `force` is False, one is a folder or a device, two
            lead to the same file, or one cannot be written.
    """
    targets = {path: Path(os.path.realpath(path)) for path in contents}
    problems = [problem for path in contents if (problem := _in_the_way(path, force=force))]
    problems += _same_file(targets)
    if problems:
        raise ConfigurationError(problems)
    made: list[Path] = []
    complete: list[_Complete] = []
    try:
        for path, content in contents.items():
            with _naming(path):
                complete.append(_written_beside(path, targets[path], content, made))
        for number, each in enumerate(complete):
            try:
                _put_into_place(each, force=force)
            except OSError as error:
                raise ConfigurationError(_not_placed(each, complete[:number], error)) from error
    finally:
        for each in complete:
            each.beside.unlink(missing_ok=True)
        for folder in reversed(made):
            with suppress(OSError):  # it holds what was written
                folder.rmdir()


def _in_the_way(path: Path, *, force: bool) -> str | None:
    """Return why an existing file must not be replaced; None if it may be, or does not exist."""
    # Unlike Path.exists, these do not ask for a name that is too long: writing reports it.
    if not os.path.exists(path):
        return None
    if not os.path.isfile(path):
        return f"{path}: is not a regular file. Choose another name."
    return None if force else _exists(path)


def _exists(path: Path) -> str:
    return f"{path}: already exists. Replace it with --force."


def _same_file(targets: Mapping[Path, Path]) -> Iterator[str]:
    first: dict[Path, Path] = {}
    for path, target in targets.items():
        if first.setdefault(target, path) != path:
            yield f"{path}: leads to the same file as {first[target]}. Choose another."


def _written_beside(path: Path, target: Path, content: bytes, made: list[Path]) -> _Complete:
    """Write a file beside its place, and note the folders made for it in `made`."""
    _make_folder(target.parent, made)
    with suppress(FileNotFoundError):
        target.lstat()  # a name that is too long fails here, before any file is in its place
    beside = unfinished_name(target)
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return _Complete(path, target, beside)


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [each for each in (folder, *folder.parents) if not os.path.exists(each)]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another process has just created it
            each.mkdir()
            made.append(each)


def _put_into_place(file: _Complete, *, force: bool) -> None:
    """Give a file its place.

    Raises:
        FileExistsError: another file has appeared since this started, and `force` is False.
    """
    if force:
        file.beside.replace(file.target)
    else:
        place_new(file.beside, file.target)


def _not_placed(file: _Complete, before: Sequence[_Complete], error: OSError) -> str:
    if isinstance(error, FileExistsError):
        problem = _exists(file.path)
    else:
        problem = _not_written(file.path, error)
    there = ", ".join(str(each.path) for each in before)
    return f"{problem} Written before it: {there}." if there else problem


def _not_written(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {error.strerror}."


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file that the user asked for when it cannot be written."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(_not_written(path, error)) from error
