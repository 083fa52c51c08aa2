"""UIQ against numbers by hand, a loop over the windows, and scikit-image."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

from tests.jobs.metrics.noisy_photographs import as_batch, noisy_photograph
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric
from wconv_jobs.metrics.uiq import planes_uiq

# Shape letters: B batch, C channels, N planes, H height, W width.


def _uiq(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric("uiq")
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


def _quality(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the index of one window, by its definition."""
    spread = (0.0 if np.ptp(x) == 0 else x.var()) + (0.0 if np.ptp(y) == 0 else y.var())
    square = x.mean() ** 2 + y.mean() ** 2
    if spread == 0:
        return float(2 * x.mean() * y.mean() / square) if square else 1.0
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(4 * covariance * x.mean() * y.mean() / (spread * square))


def _in_a_loop(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    output, target = output_BCHW.double().numpy(), target_BCHW.double().numpy()
    batch, channels, height, width = target.shape
    qualities = [
        _quality(output[b, c, i : i + 8, j : j + 8], target[b, c, i : i + 8, j : j + 8])
        for b in range(batch)
        for c in range(channels)
        for i in range(height - 7)
        for j in range(width - 7)
    ]
    return sum(qualities) / len(qualities)


def test_it_equals_a_loop_over_the_windows() -> None:
    drawn = torch.Generator().manual_seed(0)
    target_BCHW = torch.rand(2, 3, 13, 17, generator=drawn)
    output_BCHW = target_BCHW + 0.3 * torch.randn(2, 3, 13, 17, generator=drawn)

    expected = _in_a_loop(output_BCHW, target_BCHW)

    assert _uiq(output_BCHW, target_BCHW) == pytest.approx(expected, rel=1e-12)


def test_windows_of_7_pixels_equal_scikit_image_without_constants() -> None:
    drawn = torch.Generator().manual_seed(0)
    target_NHW = torch.rand(2, 20, 31, generator=drawn, dtype=torch.float64)
    output_NHW = target_NHW + 0.3 * torch.randn(2, 20, 31, generator=drawn, dtype=torch.float64)

    value_N = planes_uiq(output_NHW, target_NHW, 7)

    for n in range(2):
        expected = structural_similarity(  # type: ignore[no-untyped-call]
            target_NHW[n].numpy(), output_NHW[n].numpy(), data_range=1, win_size=7, K1=0, K2=0
        )
        assert value_N[n].item() == pytest.approx(expected, rel=1e-11)


def test_a_photograph_with_flat_patches_equals_a_loop_over_the_windows() -> None:
    output_BCHW, target_BCHW = map(as_batch, noisy_photograph(24, 32))
    # Neither 0.1 nor 0.7 is a binary number. Flat are both, the output, the target.
    output_BCHW[..., :10, :22], target_BCHW[..., :10, :12] = 0.1, 0.7
    target_BCHW[..., 12:, 20:] = 0.1

    expected = _in_a_loop(output_BCHW, target_BCHW)

    assert _uiq(output_BCHW, target_BCHW) == pytest.approx(expected, rel=1e-11)


def test_a_noisy_photograph_has_the_value_it_always_had() -> None:
    output_BCHW, target_BCHW = map(as_batch, noisy_photograph(64, 64))

    assert _uiq(output_BCHW, target_BCHW) == pytest.approx(0.4467032709043383, rel=1e-10)


@pytest.mark.parametrize("gray", [0.0, 0.1, 0.7, 1.0])
def test_an_image_equals_itself_with_and_without_flat_patches(gray: float) -> None:
    image_BCHW = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    image_BCHW[..., :16, :16] = gray

    assert _uiq(image_BCHW, image_BCHW.clone()) == 1
    assert _uiq(torch.full((1, 1, 9, 9), gray), torch.full((1, 1, 9, 9), gray)) == 1


def test_flat_images_differ_in_luminance_only() -> None:
    output_BCHW = torch.full((1, 1, 9, 9), 0.1, dtype=torch.float64)

    value = _uiq(output_BCHW, torch.full_like(output_BCHW, 0.3))

    # 2 * 0.1 * 0.3 / (0.01 + 0.09)
    assert value == pytest.approx(0.6, rel=1e-14)


@pytest.mark.parametrize("ripple", [1e-1, 1e-8])
def test_a_structure_in_place_of_a_flat_patch_scores_0(ripple: float) -> None:
    flat_BCHW = torch.full((1, 1, 12, 12), 0.9, dtype=torch.float64)
    noise_BCHW = torch.randn(flat_BCHW.shape, generator=torch.Generator().manual_seed(0))

    assert _uiq(flat_BCHW + ripple * noise_BCHW, flat_BCHW) == 0
    assert _uiq(flat_BCHW, flat_BCHW + ripple * noise_BCHW) == 0


def test_the_negative_of_an_image_scores_below_0() -> None:
    image_BCHW = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))

    assert -1 <= _uiq(1 - image_BCHW, image_BCHW) < -0.9


def test_images_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(JobError, match=r"uiq needs images of at least 8 x 8 pixels, .* 9 x 7"):
        _uiq(torch.zeros(1, 3, 9, 7), torch.zeros(1, 3, 9, 7))
