"""Every shipped study, run to its end at smoke scale, on one rank and on two."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.tiny import Sweep
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.storage.open_storage import choose_url, open_storage
from wconv_sweep.study.files import load_study
from wconv_sweep.study.resources import shipped

pytestmark = pytest.mark.slow

CONFIRMED = ("nin_3x3",)
"""Studies that are confirmed as well: the stages of all are the same, and take as long again. That
of the quickstart is confirmed at full scale, where README is followed."""


STUDIES = [name for name in shipped("wconv_studies") if name != "efficientnet_b0_5x5"]
"""Those with a network of their own: the one left out trains that of `efficientnet_b0_3x3`."""


def _smoke(sweep: Sweep, study: str, ranks: int) -> dict[str, Any]:
    """Run a study as `STUDY_smoke` in float64, in which other sums differ in the last places."""
    changes = ["dtype=float64", f"ranks={ranks}"]
    # Plain convolution, and the density of the paper or a proposal.
    changes += [] if study in CONFIRMED else ["confirm=null", "trials=2"]
    if study.startswith(("cgnet", "efficientnet", "gac_snn", "nafnet")):
        changes += ["epochs=1"]  # their many small convolutions take their time in float64
    data = load_study(study).data
    if data.name == "cifar100":
        changes += ["batch_size=100"]  # two steps an epoch
    if study.startswith("gac_snn"):
        changes += ["model.options.width=2"]  # its convolutions are slow in float64
    if "crop_px" in data.options:
        # One step an epoch, on crops that have room for all scales of the network.
        crop_px = 56 if study.startswith("cgnet") else 32
        changes += ["data.options.crops_per_epoch=8", f"data.options.crop_px={crop_px}"]
    settings = [f"--set={setting}" for setting in changes]
    command = ["launch", "--cluster", "local", "--study", study, "--smoke", "--json"]
    ended: dict[str, Any] = json.loads(sweep.run(*command, *settings, "--runs", f"{ranks} ranks"))
    assert ended["state"] == "complete"
    # Proposals may find nothing that differs from plain convolution.
    assert ended["slots"]["complete"] + ended["slots"]["skipped"] == ended["budget"]
    return ended


def _metrics(folder: Path, study: str) -> list[dict[str, Any]]:
    storage = open_storage(choose_url(None, folder, environment={}))
    rows = read_status(storage, f"{study}_smoke").trials
    storage.close()
    return [
        {"density": row.density or ()} | {k: v for k, v in row.metrics.items() if k != "epoch_s"}
        for row in rows
    ]


@pytest.mark.parametrize("study", STUDIES)
def test_a_shipped_study_has_equal_metrics_on_one_and_two_ranks(study: str, sweep: Sweep) -> None:
    for ranks in (1, 2):
        _smoke(sweep, study, ranks)

    one, two = (_metrics(sweep.folder / f"{ranks} ranks", study) for ranks in (1, 2))

    assert len(one) >= 2
    for alone, together in zip(one, two, strict=True):
        assert together.keys() == alone.keys()
        assert together.pop("density") == alone.pop("density")
        assert together == pytest.approx(alone, rel=1e-6, abs=1e-9)
