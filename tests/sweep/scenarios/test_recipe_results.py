"""What the recipes do to a denoiser: the tuned one trains it, the paper's makes it do nothing."""

import json

import pytest

from tests.sweep.tiny import Sweep

pytestmark = pytest.mark.slow

# 300 of the 2,500 steps of studies/dncnn_photographs.yaml, on smaller crops, of plain convolution.
_SHORT = [
    "--set=epochs=3",
    "--set=data.options.crop_px=24",
    "--set=reference_densities={}",
    "--set=trials=1",
]


def _metrics(sweep: Sweep, *settings: str) -> dict[str, float]:
    study = ["launch", "--cluster", "local", "--study", "dncnn_photographs", "--json"]
    status = json.loads(sweep.run(*study, *_SHORT, *settings))
    metrics: dict[str, float] = status["plain"]["metrics"]
    return metrics


def test_the_tuned_recipe_beats_the_noisy_input_by_more_than_6_db(sweep: Sweep) -> None:
    metrics = _metrics(sweep)

    assert metrics["input_psnr_db"] == pytest.approx(20.17, abs=0.02)
    assert metrics["test_psnr_db"] > metrics["input_psnr_db"] + 6


def test_the_papers_learning_rate_makes_the_network_return_its_input(sweep: Sweep) -> None:
    metrics = _metrics(sweep, "--set=preset=paper", "--set=study=dncnn_paper")

    assert metrics["test_psnr_db"] == pytest.approx(metrics["input_psnr_db"], abs=0.1)
