"""PSNR against numbers by hand and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, C channels, H height, W width.


def _psnr_db(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric("psnr_db")
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


def test_the_mean_is_over_images_after_the_logarithm() -> None:
    target_BCHW = torch.zeros(2, 3, 4, 5)
    output_BCHW = torch.stack([torch.full((3, 4, 5), 0.1), torch.full((3, 4, 5), 0.01)])

    # MSE 1e-2 and 1e-4, hence 20 dB and 40 dB
    assert _psnr_db(output_BCHW, target_BCHW) == pytest.approx(30.0, abs=1e-6)


def test_the_error_is_over_all_channels() -> None:
    target_BCHW = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
    output_BCHW = target_BCHW.clone()
    output_BCHW[0, 0] = 0.2

    # MSE (0.04 + 0) / 2
    assert _psnr_db(output_BCHW, target_BCHW) == pytest.approx(-10 * math.log10(0.02), rel=1e-14)


def test_an_image_that_is_met_exactly_has_infinitely_many_db() -> None:
    image_BCHW = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))

    assert _psnr_db(image_BCHW, image_BCHW.clone()) == math.inf


def test_it_equals_scikit_image() -> None:
    drawn = torch.Generator().manual_seed(0)
    target_BCHW = torch.rand(3, 3, 16, 15, generator=drawn)
    output_BCHW = target_BCHW + 0.1 * torch.randn(3, 3, 16, 15, generator=drawn)

    expected = [
        peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
            target.double().numpy(), output.double().numpy(), data_range=1
        )
        for target, output in zip(target_BCHW, output_BCHW, strict=True)
    ]

    assert _psnr_db(output_BCHW, target_BCHW) == pytest.approx(sum(expected) / 3, rel=1e-12)


def test_bfloat16_outputs_are_summed_in_float64() -> None:
    target_BCHW = torch.zeros(1, 1, 100, 100)
    output_BCHW = torch.full((1, 1, 100, 100), 0.5, dtype=torch.bfloat16)

    assert _psnr_db(output_BCHW, target_BCHW) == pytest.approx(-10 * math.log10(0.25), rel=1e-14)


def test_outputs_that_would_be_broadcast_are_refused() -> None:
    with pytest.raises(JobError, match=r"output has \(2, 1, 4, 4\) and the target \(2, 3, 4, 4\)"):
        _psnr_db(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4))
