"""The tiny classifier: size and shape."""

import pytest
import torch

from wconv_jobs.models import build_model


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # 3*9*16 + 2*16 + 16*9*32 + 2*32 + 32*100 + 100
        ({}, 8_436),
        ({"num_classes": 4}, 8_436 - 96 * 33),
        ({"channels": 1}, 8_436 - 2 * 9 * 16),
        ({"kernel_size": 5}, 8_436 + 16 * (3 * 16 + 16 * 32)),
    ],
)
def test_number_of_parameters(options: dict[str, object], parameters: int) -> None:
    model = build_model("tiny", **options)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (33, 32)])
def test_images_of_odd_and_small_size_give_one_logit_per_class(size: tuple[int, int]) -> None:
    model = build_model("tiny", num_classes=7, kernel_size=5)

    assert model(torch.zeros(2, 3, *size)).shape == (2, 7)
