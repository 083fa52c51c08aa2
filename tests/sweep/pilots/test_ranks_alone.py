"""Ranks have loaded what trains a network, and nothing of the agent that starts them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.pilots.test_lanes import ordered
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.slots import definitions
from wconv_sweep.storage.tables import SlotState

NETWORK = """
import os
import sys
from pathlib import Path

from torch import nn


def build():
    if "LOCAL_RANK" in os.environ:
        Path(__file__).with_name("loaded").write_text(" ".join(sys.modules))
    return nn.Conv2d(3, 3, 3, padding=1)
"""


@pytest.mark.slow
def test_a_rank_has_loaded_neither_database_nor_sampler_nor_agent(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "lists_modules.py").write_text(NETWORK, "utf-8")
    own = {"model": {"name": "lists_modules:build"}, "code": str(code), "budget": {"trials": 1}}
    storage, order = ordered(tmp_path, own)
    definitions.freeze_own_modules(storage, "tiny")

    subprocess.run([sys.executable, "-m", "wconv_sweep.pilots.pilot", str(order)], check=True)

    (trial,) = read_status(storage, "tiny").trials
    storage.close()
    assert trial.state is SlotState.COMPLETE
    (listed,) = tmp_path.rglob("loaded")
    packages = {name.partition(".")[0] for name in listed.read_text("utf-8").split()}
    assert {"torch", "wconv_jobs", "wconv_kernels"} <= packages
    assert not packages & {"wconv_sweep", "optuna", "sqlalchemy", "submitit"}
