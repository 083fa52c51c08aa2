"""What several tests need is made once in a run of the tests, by whichever of its workers."""

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


def run_process() -> int:
    """Return the process of a run that ends last."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of a run share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once_per_run(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Return what `make` returned in this run; other workers wait for it.

    Args:
        factory: of pytest.
        name: of what is made, unlike the others of the module that `make` is in.
        make: gets an empty folder.
    """
    kept = run_folder(factory) / f"{make.__module__}.{name}.pickle"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(make(factory.mktemp(name))))
        made: Made = pickle.loads(kept.read_bytes())
        return made
