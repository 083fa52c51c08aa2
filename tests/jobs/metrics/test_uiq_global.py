"""UIQ of whole images against numbers by hand, numpy, and UIQ of one window."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.jobs.metrics.noisy_photographs import as_batch, noisy_photograph
from wconv_jobs.metrics import build_metric
from wconv_jobs.metrics.uiq import planes_uiq

# Shape letters: B batch, C channels, H height, W width.


def _uiq_global(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric("uiq_global")
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


def test_an_example_by_hand() -> None:
    target_BCHW = torch.tensor([[[[1.0, 3.0]]]])
    output_BCHW = torch.tensor([[[[1.0, 2.0]]]])

    # Means 3/2 and 2, variances 1/4 and 1, covariance 1/2
    expected = (2 * 0.5 / 1.25) * (2 * 3.0 / 6.25)
    assert _uiq_global(output_BCHW, target_BCHW) == pytest.approx(expected, rel=1e-15)


def test_it_is_the_uiq_with_a_window_as_large_as_the_image() -> None:
    drawn = torch.Generator().manual_seed(0)
    output_BCHW, target_BCHW = torch.rand(2, 3, 2, 15, 15, generator=drawn, dtype=torch.float64)

    expected = planes_uiq(output_BCHW.flatten(0, 1), target_BCHW.flatten(0, 1), 15).mean().item()

    assert _uiq_global(output_BCHW, target_BCHW) == pytest.approx(expected, rel=1e-12)


def test_a_noisy_photograph_equals_numpy() -> None:
    noisy_HWC, clean_HWC = noisy_photograph(64, 64)
    qualities = []
    for c in range(3):
        x, y = noisy_HWC[..., c].ravel(), clean_HWC[..., c].ravel()
        (xx, xy), (_, yy) = np.cov(x, y, bias=True)
        means = x.mean() * y.mean() / (x.mean() ** 2 + y.mean() ** 2)
        qualities.append(4 * xy / (xx + yy) * means)

    value = _uiq_global(as_batch(noisy_HWC), as_batch(clean_HWC))

    assert value == pytest.approx(sum(qualities) / 3, rel=1e-12)
    assert value == pytest.approx(0.9330509621262953, rel=1e-10)


@pytest.mark.parametrize("gray", [0.0, 0.1, 0.7])
def test_flat_images_differ_in_luminance_only(gray: float) -> None:
    flat_BCHW = torch.full((1, 3, 37, 41), gray, dtype=torch.float64)

    assert _uiq_global(flat_BCHW, flat_BCHW.clone()) == 1
    # 2 (2 g) g / (4 g^2 + g^2), and 1 when both are black
    expected = 0.8 if gray else 1
    assert _uiq_global(2 * flat_BCHW, flat_BCHW) == pytest.approx(expected, rel=1e-14)


def test_a_structure_in_place_of_a_flat_image_scores_0() -> None:
    flat_BCHW = torch.full((1, 1, 12, 12), 0.9, dtype=torch.float64)
    noise_BCHW = torch.randn(flat_BCHW.shape, generator=torch.Generator().manual_seed(0))

    assert _uiq_global(flat_BCHW + 1e-8 * noise_BCHW, flat_BCHW) == 0
