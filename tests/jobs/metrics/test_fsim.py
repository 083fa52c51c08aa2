"""FSIM against a reference in numpy, and what its authors say of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.jobs.metrics.fsim_reference import conv2_same, fsim
from tests.jobs.metrics.noisy_photographs import as_batch, noisy_photograph
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, C channels, H height, W width.


def _fsim(output_BCHW: Tensor, target_BCHW: Tensor) -> float:
    metric = build_metric("fsim")
    metric.update(output_BCHW, target_BCHW)
    return metric.compute(metric.state())


# Even, odd and unequal sides; sides of 384 and 640 pixels are those from which pixels are joined
# by 2 and 3, with and without a rest.
@pytest.mark.parametrize(
    ("height", "width"),
    [(48, 64), (47, 64), (48, 63), (47, 63), (63, 20), (7, 5), (384, 401), (642, 641)],
)
@pytest.mark.slow
def test_it_equals_the_reference(height: int, width: int) -> None:
    output_HWC, target_HWC = noisy_photograph(height, width)

    expected, _ = fsim(output_HWC, target_HWC)

    assert _fsim(as_batch(output_HWC), as_batch(target_HWC)) == pytest.approx(expected, rel=1e-10)


def test_gray_images_equal_the_reference() -> None:
    output_HWC, target_HWC = noisy_photograph(48, 64)
    output_HW, target_HW = output_HWC[..., 0], target_HWC[..., 0]

    expected, _ = fsim(output_HW, target_HW)

    value = _fsim(torch.from_numpy(output_HW)[None, None], torch.from_numpy(target_HW)[None, None])
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(64, 0.7508543215879095), pytest.param(512, 0.8877471988213892, marks=pytest.mark.slow)],
)
def test_a_noisy_photograph_has_the_value_it_always_had(side: int, expected: float) -> None:
    output_HWC, target_HWC = noisy_photograph(side, side)

    value = _fsim(as_batch(output_HWC), as_batch(target_HWC))

    assert value == pytest.approx(expected, rel=1e-10)
    assert fsim(output_HWC, target_HWC)[0] == pytest.approx(expected, rel=1e-10)


def test_the_reference_aligns_even_kernels_as_matlab_does() -> None:
    # conv([1 2 1 3 1], [2 0 1 0], 'same') in MATLAB
    row = conv2_same(np.array([[1.0, 2, 1, 3, 1]]), np.array([[2.0, 0, 1, 0]]))

    assert row.tolist() == [[3, 8, 3, 3, 1]]


def test_an_image_equals_itself() -> None:
    image_BCHW = torch.rand(2, 3, 33, 40, generator=torch.Generator().manual_seed(0))

    assert _fsim(image_BCHW, image_BCHW.clone()) == pytest.approx(1, abs=1e-12)


def test_it_does_not_matter_which_of_the_images_is_the_target() -> None:
    output_HWC, target_HWC = noisy_photograph(48, 64)
    output_BCHW, target_BCHW = as_batch(output_HWC), as_batch(target_HWC)

    forth, back = _fsim(output_BCHW, target_BCHW), _fsim(target_BCHW, output_BCHW)

    assert forth == pytest.approx(back, rel=1e-12)


def test_more_noise_is_less_similar() -> None:
    noisy_HWC, clean_HWC = noisy_photograph(64, 64)
    noise_HWC = noisy_HWC - clean_HWC

    values = [
        _fsim(as_batch(clean_HWC + factor * noise_HWC), as_batch(clean_HWC))
        for factor in (0.2, 0.5, 1, 2, 4)
    ]

    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("gray", [0.0, 0.1, 1.0])
def test_images_without_features_are_compared_by_their_gradients(gray: float) -> None:
    flat_BCHW = torch.full((1, 3, 32, 32), gray)

    assert _fsim(flat_BCHW, flat_BCHW.clone()) == pytest.approx(1, abs=1e-12)
    assert 0 < _fsim(flat_BCHW, 1 - flat_BCHW) < 1


def test_filters_made_in_an_evaluation_serve_outside_of_it() -> None:
    image_BCHW = torch.rand(1, 1, 19, 23, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = _fsim(1 - image_BCHW, image_BCHW)

    value = _fsim((1 - image_BCHW).requires_grad_(), image_BCHW)

    assert value == pytest.approx(expected, rel=1e-12)


def test_images_of_two_channels_are_refused() -> None:
    with pytest.raises(JobError, match=r"fsim .* gray, or red, green and blue, .* 2 channels"):
        _fsim(torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16))


def test_images_of_one_row_are_refused() -> None:
    with pytest.raises(JobError, match=r"fsim needs images of at least 2 x 2 pixels, .* 1 x 16"):
        _fsim(torch.zeros(1, 3, 1, 16), torch.zeros(1, 3, 1, 16))
