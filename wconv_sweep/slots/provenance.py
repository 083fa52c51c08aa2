"""The program, definition and data of a result, and whether they are still the same."""

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wconv_jobs import catalog
from wconv_jobs.errors import JobError
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.code_files import rule_of
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.own_modules import modules_sha256

Provenance = Mapping[str, Any]
"""A JSON object: version, hash and commit of the program, hash of the definition, checksums of the
data; of an attempt also its host."""

PACKAGES = ("wconv_kernels", "wconv_trial", "wconv_jobs", "wconv_sweep")
ORIGIN_FILE = "origin.json"
"""Beside the packages of a frozen program: the commit that it was copied from."""
GIT_TIMEOUT_S = 5

_NAMES = {
    "code_sha256": "the program",
    "config_sha256": "the definition as this program reads it",
    "modules_sha256": "the study's own code",
    "data": "the data",
}


def provenance_of(config: StudyConfig, run_folder: Path | None = None) -> dict[str, Any]:
    """Return the current provenance of a study.

    Args:
        config: of the study.
        run_folder: of the study, where the copy of its own modules may lie, see `modules_sha256`.

    Raises:
        ConfigurationError: the data cannot be checked.
    """
    if config.trainer is not None:
        return program_of(config, run_folder)  # its data are its own
    try:
        data = catalog.data_checksums(config.data.name, config.data.options)
    except JobError as error:
        raise ConfigurationError(f"study {config.study}: data: {error}") from error
    return program_of(config, run_folder) | {"data": data}


def program_of(config: StudyConfig, run_folder: Path | None = None) -> dict[str, Any]:
    """Return the same without the data."""
    folder, rule = config.code_folder, rule_of(config.trainer)
    return {
        "wconv_sweep": version("wconv-sweep"),
        "code_sha256": code_sha256(),
        **git_state(),
        "config_sha256": config.digest(),
        **({"modules_sha256": modules_sha256(folder, run_folder, rule)} if folder else {}),
        **(_git_state_of_modules(folder) if folder else {}),
    }


def host_and_job() -> dict[str, str]:
    """Return the host of this process, and its job in SLURM if it has one."""
    job = os.environ.get("SLURM_JOB_ID")
    return {"host": platform.node()} | ({"job": job} if job else {})


def differences(recorded: Provenance, now: Provenance) -> list[str]:
    """Return one clause for each recorded value that has changed; a missing value has not."""
    found = []
    for key, name in _NAMES.items():
        if key not in recorded or key not in now or recorded[key] == now[key]:
            continue
        if key == "data":
            before, after = recorded[key], now[key]
            changed = sorted(
                part
                for part in before.keys() | after.keys()
                if before.get(part) != after.get(part)
            )
            found.append(f"the data have changed ({', '.join(changed)})")
        else:
            found.append(f"{name} was {_version(recorded, key)}, is now {_version(now, key)}")
    return found


@cache
def code_sha256() -> str:
    """Return the hash of the program's own source files, wherever it is installed."""
    return code_sha256_of({package: package_folder(package) for package in PACKAGES})


def code_sha256_of(folders: Mapping[str, Path]) -> str:
    """Return the hash of the source files in these folders, by name of the package."""
    content = hashlib.sha256()
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            content.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
            content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()


def git_state(folder: Path | None = None) -> dict[str, str | bool]:
    """Return commit and whether files were changed since, if the program is from a checkout.

    Args:
        folder: of the program; for tests.
    """
    folder = folder or package_folder("wconv_sweep")
    with contextlib.suppress(FileNotFoundError):
        # A frozen copy lies in no checkout any more, or in that of something else.
        origin: dict[str, str | bool] = json.loads(
            (folder.parent / ORIGIN_FILE).read_text("utf-8")
        )
        return origin
    # A virtual environment may lie in a checkout of something else.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return {}
    return {"git_commit": commit.strip(), "git_changed": bool(changed.strip())}


def _git_state_of_modules(folder: Path) -> dict[str, str | bool]:
    """Return the same of the study's own code; a copy in a run folder has none."""
    if not _git(folder, "ls-files", "--", "."):
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    if commit is None or changed is None:
        return {}
    return {"modules_git_commit": commit.strip(), "modules_git_changed": bool(changed.strip())}


def package_folder(package: str) -> Path:
    """Return the folder of a package of the program."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def _version(provenance: Provenance, key: str) -> str:
    short = str(provenance[key])[:12]
    if key != "code_sha256":
        return short
    commit = provenance.get("git_commit")
    of = f", commit {commit[:12]}" if commit else ""
    changed = " with changes" if provenance.get("git_changed") else ""
    return f"{provenance.get('wconv_sweep', '?')} ({short}{of}{changed})"
