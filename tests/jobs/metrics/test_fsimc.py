"""FSIMc against a reference in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.jobs.metrics.fsim_reference import fsim
from tests.jobs.metrics.noisy_photographs import as_batch, noisy_photograph
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, C channels, H height, W width.


def _score(name: str, output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric(name)
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


# Strong noise makes the similarity of some colors negative, hence its power complex.
@pytest.mark.parametrize(
    ("height", "width", "noise_sigma"),
    [(48, 64, 5), (48, 64, 100), (47, 63, 100), (384, 401, 25), (642, 641, 100)],
)
@pytest.mark.slow
def test_it_equals_the_reference(height: int, width: int, noise_sigma: float) -> None:
    output_HWC, target_HWC = noisy_photograph(height, width, noise_sigma)

    _, expected = fsim(output_HWC, target_HWC)

    value = _score("fsimc", as_batch(output_HWC), as_batch(target_HWC))
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(64, 0.7210328322404596), pytest.param(512, 0.8770334072006061, marks=pytest.mark.slow)],
)
def test_a_noisy_photograph_has_the_value_it_always_had(side: int, expected: float) -> None:
    output_HWC, target_HWC = noisy_photograph(side, side)

    value = _score("fsimc", as_batch(output_HWC), as_batch(target_HWC))

    assert value == pytest.approx(expected, rel=1e-10)
    assert fsim(output_HWC, target_HWC)[1] == pytest.approx(expected, rel=1e-10)


def test_an_image_equals_itself() -> None:
    image_BCHW = torch.rand(2, 3, 33, 40, generator=torch.Generator().manual_seed(0))

    assert _score("fsimc", image_BCHW, image_BCHW.clone()) == pytest.approx(1, abs=1e-12)


def test_it_sees_colors_that_fsim_does_not() -> None:
    _, target_HWC = noisy_photograph(48, 64)
    luminance_HW = target_HWC @ np.array([0.299, 0.587, 0.114])
    gray_HWC = np.stack([luminance_HW] * 3, axis=-1)

    assert _score("fsim", as_batch(gray_HWC), as_batch(target_HWC)) == pytest.approx(1, abs=1e-12)
    assert _score("fsimc", as_batch(gray_HWC), as_batch(target_HWC)) < 0.99


def test_gray_images_are_refused() -> None:
    with pytest.raises(JobError, match=r"fsimc .* red, green and blue, but these have 1 channel"):
        _score("fsimc", torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
