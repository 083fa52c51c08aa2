"""SSIM against numbers by hand and scikit-image."""

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from tests.jobs.metrics.noisy_photographs import as_batch, noisy_photograph
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import _images, build_metric

# Shape letters: B batch, C channels, H height, W width.


def _ssim(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric("ssim")
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


def _scikit_image(output_CHW: Tensor, target_CHW: Tensor) -> float:
    value = structural_similarity(  # type: ignore[no-untyped-call]
        target_CHW.double().numpy(),
        output_CHW.double().numpy(),
        data_range=1,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_equals_scikit_image(channels: int) -> None:
    drawn = torch.Generator().manual_seed(0)
    target_BCHW = torch.rand(3, channels, 20, 31, generator=drawn)
    output_BCHW = target_BCHW + 0.3 * torch.randn(3, channels, 20, 31, generator=drawn)

    expected = [
        _scikit_image(output_CHW, target_CHW)
        for output_CHW, target_CHW in zip(output_BCHW, target_BCHW, strict=True)
    ]

    assert _ssim(output_BCHW, target_BCHW) == pytest.approx(sum(expected) / 3, rel=1e-12)


def test_a_noisy_photograph_has_the_value_it_always_had() -> None:
    output_BCHW, target_BCHW = map(as_batch, noisy_photograph(64, 64))

    value = _ssim(output_BCHW, target_BCHW)

    assert value == pytest.approx(_scikit_image(output_BCHW[0], target_BCHW[0]), rel=1e-12)
    assert value == pytest.approx(0.3853623865223826, rel=1e-10)


def test_an_image_equals_itself() -> None:
    image_BCHW = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    assert _ssim(image_BCHW, image_BCHW.clone()) == 1


def test_flat_images_differ_in_luminance_only() -> None:
    output_BCHW = torch.full((1, 1, 11, 11), 0.5, dtype=torch.float64)

    value = _ssim(output_BCHW, torch.ones_like(output_BCHW))

    # (2 * 0.5 * 1 + 1e-4) / (0.25 + 1 + 1e-4)
    assert value == pytest.approx(1.0001 / 1.2501, rel=1e-12)


def test_large_batches_are_scored_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.Generator().manual_seed(0)
    output_BCHW, target_BCHW = torch.rand(2, 5, 3, 12, 13, generator=drawn)
    whole = _ssim(output_BCHW, target_BCHW)

    # Pieces of 4, 4, 4 and 3 planes, across the images.
    monkeypatch.setattr(_images, "_PIECE_VALUES", 4 * 12 * 13 + 1)

    assert _ssim(output_BCHW, target_BCHW) == pytest.approx(whole, rel=1e-13)


def test_images_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(
        JobError, match=r"ssim needs images of at least 11 x 11 pixels, .* 10 x 12"
    ):
        _ssim(torch.zeros(1, 3, 10, 12), torch.zeros(1, 3, 10, 12))
