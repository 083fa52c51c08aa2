"""Fixtures of the tests of whole studies."""

from pathlib import Path

import pytest

from tests.sweep.nursery import ForkedSweep
from tests.sweep.tiny import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Return the command in a folder, run without loading its packages each time."""
    return ForkedSweep(tmp_path)


@pytest.fixture
def started_sweep(tmp_path: Path) -> Sweep:
    """Return the command in a folder, started as users start it."""
    return Sweep(tmp_path)
