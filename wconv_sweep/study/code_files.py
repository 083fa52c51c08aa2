"""Which files of the folder `code` belong to a study, and which of them its copy only links to.

Of a network or data set of the user's: the modules, and small files that they may read. Of a
training program: all files, for it may read any; large ones are data, and stay where they are.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import is_run_folder, studies_in
from wconv_sweep.study.trainer import TrainerSpec
from wconv_trial.alone import FOLDER as ALONE

MAX_FILES = 2000
"""A folder with more is not one of modules, but somebody's home."""
MAX_FILE_BYTES = 1_000_000
"""Of a file beside the modules; larger ones are data, and stay where they are."""
MAX_PROGRAM_FILE_BYTES = 20_000_000
"""Of a file of a program; the copy links to larger ones."""
MAX_PROGRAM_BYTES = 100_000_000
"""Of all copied files of a program together."""
BESIDE = (
    *(".cfg", ".csv", ".ini", ".json", ".npy", ".npz", ".pt", ".pth", ".safetensors"),
    *(".toml", ".tsv", ".txt", ".yaml", ".yml"),
)
"""Endings of the files that belong to the modules; a study file is none of them."""

_LEFT_OUT = {"__pycache__", "node_modules", "site-packages", "wconv_runs", ALONE}
_NO_CODE = (".git", ".nfs*", "*.db", "*.db-*", "*.err", "*.log", "*.out", "*.pgpass", "*.py[co]")
"""Files that belong to no program: those of other tools, which grow or go meanwhile."""
_SHOWN = 3


@dataclass(frozen=True)
class CodeFile:
    """A file of a study's own code, or a folder that its copy links to."""

    name: str
    """Relative to the folder of the code, with slashes."""
    target: str | None = None
    """Where the copy links to: absolute, or relative to the folder of the code; None: copied."""


@dataclass(frozen=True)
class CodeRule:
    """Which files belong to a study's own code."""

    is_program: bool = False
    """All files, those of a program; otherwise modules, and what they may read."""
    linked: tuple[str, ...] = ()
    """Patterns of the files and folders of a program that its copy only links to."""

    def files(self, folder: Path) -> list[CodeFile]:
        """Return what belongs to the code in a folder, by name.

        Raises:
            ConfigurationError: there are too many, or they are too large.
        """
        if self.is_program:
            return _program(folder, self.linked)
        return [
            CodeFile(path.relative_to(folder).as_posix())
            for path in (*_modules(folder), *_beside(folder))
        ]

    def unnamed_links(self, folder: Path) -> list[str]:
        """Return what the copy links to without being told, each with the reason.

        Raises:
            ConfigurationError: as `files`.
        """
        found = [each.name for each in self.files(folder) if each.target is not None]
        return [
            f"{name} ({_why(folder / name)})" for name in found if not _matches(name, self.linked)
        ]


MODULES = CodeRule()
"""The rule where our own trainer trains."""


def rule_of(trainer: TrainerSpec | None) -> CodeRule:
    """Return the rule for the code of a study with this trainer."""
    return MODULES if trainer is None else CodeRule(is_program=True, linked=tuple(trainer.linked))


def link_target(folder: Path, name: str) -> str:
    """Return where a copy links to instead of holding a file or folder, see `CodeFile.target`."""
    path, root = folder / name, os.path.realpath(folder)
    real = os.path.realpath(path)
    if path.is_symlink() and path.is_dir() and Path(real).is_relative_to(root):
        return os.path.relpath(real, root)  # into the copy, like all else
    return real


def _program(folder: Path, linked: Sequence[str]) -> list[CodeFile]:
    found: dict[str, CodeFile] = {}
    sizes: dict[str, int] = {}
    # A folder of a million images need not be looked at to its end.
    for name, path in islice(_walk(folder, linked), 10 * MAX_FILES):
        if path.is_dir() or _matches(name, linked):
            found[name] = CodeFile(name, link_target(folder, name))
        elif (size := path.stat().st_size) > MAX_PROGRAM_FILE_BYTES:
            found[name] = CodeFile(name, os.path.realpath(path))
        elif not _is_study(path):
            found[name], sizes[name] = CodeFile(name), size
    if len(found) > MAX_FILES or sum(sizes.values()) > MAX_PROGRAM_BYTES:
        raise ConfigurationError(_too_much(folder, found, sizes))
    return [found[name] for name in sorted(found)]


def _too_much(folder: Path, found: Iterable[str], sizes: Mapping[str, int]) -> str:
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_SHOWN]
    shown = ", ".join(f"{name} ({_size(sizes[name])})" for name in largest)
    ((fullest, count),) = Counter(name.rpartition("/")[0] or "." for name in found).most_common(1)
    example = next((name for name in (fullest, *largest) if name != "."), "data")
    return (
        f"code: {folder} holds {len([*found])} files or more, {_size(sum(sizes.values()))}, but "
        f"the copy of a program takes at most {MAX_FILES}, and {_size(MAX_PROGRAM_BYTES)}. Most "
        f"are in {fullest} ({count}), the largest are {shown or 'links'}. Name what is no code in "
        f"trainer.linked, e.g. `linked: [{example}]`: the copy then only links to it."
    )


def _why(path: Path) -> str:
    return "a link to a folder" if path.is_dir() else _size(path.stat().st_size)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns)


def _modules(folder: Path) -> list[Path]:
    files = (path for _, path in _walk(folder) if path.is_file())
    found = sorted(path for path in files if path.name.endswith(".py"))
    if len(found) > MAX_FILES:
        raise ConfigurationError(
            f"code: {folder} holds more than {MAX_FILES} modules. Choose a folder that holds the "
            "study's own modules and little else."
        )
    return found


def _beside(folder: Path) -> list[Path]:
    """Return the small files that modules may read; of too many, as in a data set, none."""
    found = sorted(
        path
        for _, path in _walk(folder)
        if path.name.endswith(BESIDE)
        and path.is_file()
        and path.stat().st_size <= MAX_FILE_BYTES
        and os.access(path, os.R_OK)
        and not _is_study(path)
    )
    return found if len(found) <= MAX_FILES else []


def _is_study(path: Path) -> bool:
    """Return whether a file is that of a study, whose budget may grow."""
    is_yaml = path.suffix in (".yaml", ".yml") and os.access(path, os.R_OK)
    return is_yaml and re.search(rb"^study:", path.read_bytes(), re.MULTILINE) is not None


def _walk(folder: Path, linked: Sequence[str] = ()) -> Iterator[tuple[str, Path]]:
    """Yield all files that may be code, and folders that are links or match a pattern."""
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        if "pyvenv.cfg" in files or is_run_folder(here) or (here != folder and studies_in(here)):
            folders.clear()
            continue
        names = {name: (here / name).relative_to(folder).as_posix() for name in folders + files}
        kept = [name for name in sorted(folders) if name not in _LEFT_OUT and name[0] != "."]
        links = [
            name for name in kept if (here / name).is_symlink() or _matches(names[name], linked)
        ]
        folders[:] = [name for name in kept if name not in links]
        for name in links + sorted(files):
            path = here / name
            if not _matches(name, _NO_CODE) and (path.is_file() or path.is_dir()):
                yield names[name], path
