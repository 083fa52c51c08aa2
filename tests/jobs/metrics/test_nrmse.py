"""NRMSE against numbers by hand and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import normalized_root_mse
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, C channels, H height, W width.


def _nrmse(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric("nrmse")
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


def test_each_image_is_divided_by_its_own_range() -> None:
    target_BCHW = torch.tensor([[[[0.0, 1.0]]], [[[0.25, 0.5]]]])
    output_BCHW = target_BCHW + 0.125

    # RMSE 1/8 for both; ranges 1 and 1/4
    assert _nrmse(output_BCHW, target_BCHW) == (0.125 + 0.5) / 2


def test_the_range_is_that_of_the_target_over_all_channels() -> None:
    target_BCHW = torch.tensor([[[[0.0]], [[0.5]]]])
    output_BCHW = torch.tensor([[[[9.0]], [[0.5]]]])

    assert _nrmse(output_BCHW, target_BCHW) == pytest.approx(math.sqrt(81 / 2) / 0.5, rel=1e-14)


def test_it_equals_scikit_image() -> None:
    drawn = torch.Generator().manual_seed(0)
    target_BCHW = torch.rand(3, 3, 16, 15, generator=drawn)
    output_BCHW = target_BCHW + 0.1 * torch.randn(3, 3, 16, 15, generator=drawn)

    expected = [
        normalized_root_mse(
            target.double().numpy(), output.double().numpy(), normalization="min-max"
        )
        for target, output in zip(target_BCHW, output_BCHW, strict=True)
    ]

    assert _nrmse(output_BCHW, target_BCHW) == pytest.approx(sum(expected) / 3, rel=1e-12)


def test_a_flat_image_is_met_exactly_or_infinitely_far_away() -> None:
    flat_BCHW = torch.full((1, 3, 2, 2), 0.5)

    assert _nrmse(flat_BCHW, flat_BCHW) == 0
    assert _nrmse(flat_BCHW + 0.1, flat_BCHW) == math.inf


def test_images_without_a_batch_are_refused() -> None:
    with pytest.raises(JobError, match=r"the same shape \(B, C, H, W\)"):
        _nrmse(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4))
