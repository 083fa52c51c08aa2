"""Fixtures of the tests on a real SLURM cluster."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.slurm import machine
from tests.slurm.box import SlurmBox, slurm_box
from tests.slurm.studies import ClusterStudy
from tests.slurm.sweeping import SlurmSweep
from tests.sweep.postgres import Server


@pytest.fixture(scope="session")
def _cluster() -> Iterator[SlurmBox]:
    """Start one cluster for all tests of a worker; it takes a second or two, and 90 MB of memory.

    Workers share none: half of the tests fill its nodes, stop its daemons or cut its power.
    """
    reason = machine.missing()
    if reason:
        pytest.skip(f"no SLURM cluster here: {reason}")
    with slurm_box() as box:
        yield box


@pytest.fixture
def box(_cluster: SlurmBox, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmBox]:
    """Return the cluster, idle, and set up this process as a shell on it."""
    for name in set(os.environ) - set(_cluster.environment):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", _cluster.environment["SLURM_CONF"])
    yield _cluster
    _cluster.reset()


@pytest.fixture
def slurm_sweep(tmp_path: Path, box: SlurmBox, postgres: Server) -> Iterator[SlurmSweep]:
    with closing(SlurmSweep(tmp_path, box, postgres)) as sweep:
        yield sweep


@pytest.fixture
def cluster_study(tmp_path: Path, box: SlurmBox, postgres: Server) -> Iterator[ClusterStudy]:
    with closing(ClusterStudy(tmp_path, box, postgres)) as study:
        yield study


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    return folder
