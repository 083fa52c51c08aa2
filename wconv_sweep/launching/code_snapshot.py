"""Freezes the program of a study in its run folder, as pilots may start days after submission.

    code/<hash>/origin.json         the commit that it was copied from
    code/<hash>/wconv_sweep/...     the packages, found through PYTHONPATH

An edit, an update or a switch of the program's branch changes nothing for pilots
that wait, and nothing for ranks that a pilot starts later.
"""

import json
import os
import shutil
from pathlib import Path

from wconv_jobs.files.atomic import create_folder_once
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slots.provenance import (
    ORIGIN_FILE,
    PACKAGES,
    code_sha256,
    code_sha256_of,
    git_state,
    package_folder,
)

_DATA_PACKAGES = ("wconv_studies", "wconv_slurm_templates")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def freeze(folder: RunFolder) -> Path:
    """Copy the program into the run folder, once for each version of it.

    Any number of processes may call this at once.

    Args:
        folder: of the study.

    Returns:
        The folder that belongs in PYTHONPATH.

    Raises:
        ConfigurationError: the program changed while it was read or copied.
    """
    frozen = frozen_code(folder)
    create_folder_once(frozen, _copy)
    return frozen


def frozen_code(folder: RunFolder) -> Path:
    """Return where `freeze` copies this program to."""
    return folder.code / code_sha256()[:16]


def path_with(frozen: Path, pythonpath: str | None) -> str:
    """Return PYTHONPATH with the frozen program before all its other entries."""
    return os.pathsep.join([str(frozen), *([pythonpath] if pythonpath else [])])


def _copy(target: Path) -> None:
    for package in (*PACKAGES, *_DATA_PACKAGES):
        shutil.copytree(package_folder(package), target / package, ignore=_LEFT_OUT)
    (target / ORIGIN_FILE).write_text(json.dumps(git_state()) + "\n", "utf-8")
    copied = code_sha256_of({package: target / package for package in PACKAGES})
    if copied != code_sha256():
        raise ConfigurationError(
            "the program changed during the launch, so it is unknown what the pilots would "
            "run. Launch again."
        )
