"""Denoising: crops and noise are functions of the seed and of nothing else."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from wconv_jobs.denoising import DenoisingTask
from wconv_jobs.errors import JobError
from wconv_jobs.images import Picture
from wconv_jobs.seeding import generator

# Shape letters: B batch, C channels, H height, W width.


def _picture(name: str, height: int, width: int) -> Picture:
    """Return a picture whose pixels tell where they are: red the row, green the column."""
    pixels_HWC = np.zeros((height, width, 3), np.uint8)
    pixels_HWC[..., 0] = np.arange(height)[:, None]
    pixels_HWC[..., 1] = np.arange(width)
    pixels_HWC[..., 2] = len(name)
    return Picture(name, pixels_HWC)


def _task(
    seed: int = 7, noise_sigma: float = 25.0, test: Sequence[Picture] | None = None
) -> DenoisingTask:
    return DenoisingTask(
        train=[_picture("a", 10, 20), _picture("bb", 30, 12)],
        validation=[_picture("v", 9, 7), _picture("w", 5, 6)],
        test=test or [_picture("v", 9, 7)],
        seed=seed,
        noise_sigma=noise_sigma,
        crop_px=8,
        crops_per_epoch=100,
        metrics=("psnr_db", "nrmse"),
    )


def test_a_sample_asked_for_alone_equals_the_sample_in_a_batch() -> None:
    batch = _task().train_batch(3, range(8))

    alone = _task().train_batch(3, range(5, 6))

    assert torch.equal(alone[0][0], batch[0][5])
    assert torch.equal(alone[1][0], batch[1][5])


def test_two_ranks_together_see_the_batch_of_one() -> None:
    one = _task().train_batch(0, range(8))

    first, second = (_task().train_batch(0, part) for part in (range(4), range(4, 8)))

    assert torch.equal(torch.cat([first[0], second[0]]), one[0])
    assert torch.equal(torch.cat([first[1], second[1]]), one[1])


def test_the_order_of_asking_does_not_matter() -> None:
    forwards, backwards = _task(), _task()
    expected = [forwards.train_batch(epoch, range(4))[0] for epoch in range(3)]

    backwards.items("test")[0]
    torch.manual_seed(99)
    got = [backwards.train_batch(epoch, range(4))[0] for epoch in (2, 1, 0)]

    assert all(torch.equal(a, b) for a, b in zip(expected, reversed(got), strict=True))


def test_the_global_random_state_is_left_alone() -> None:
    task = _task()
    before = torch.get_rng_state()

    task.train_batch(0, range(4))
    list(task.items("validation"))

    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_epochs_and_samples_have_crops_and_noise_of_their_own() -> None:
    noisy_BCHW = torch.stack(
        [
            _task(seed).train_batch(epoch, range(sample, sample + 1))[0][0]
            for seed in (7, 8)
            for epoch in (0, 1)
            for sample in (0, 1)
        ]
    )

    assert len(torch.unique(noisy_BCHW, dim=0)) == 8


def test_targets_are_crops_of_the_pictures_in_the_unit_range() -> None:
    _, target_BCHW = _task().train_batch(0, range(100))

    level_BCHW = (target_BCHW * 255).round().int()
    top, left = level_BCHW[:, 0, 0, 0], level_BCHW[:, 1, 0, 0]
    expected_HW = torch.arange(8)
    assert target_BCHW.shape == (100, 3, 8, 8)
    assert torch.allclose(target_BCHW * 255, level_BCHW.float(), atol=1e-4)
    assert torch.equal(
        level_BCHW[:, 0], (top[:, None, None] + expected_HW[:, None]).expand(100, 8, 8)
    )
    assert torch.equal(level_BCHW[:, 1], (left[:, None, None] + expected_HW).expand(100, 8, 8))
    # Every row and column that a crop can start at is met: 10 x 20 and 30 x 12 pixels.
    wide = level_BCHW[:, 2, 0, 0] == 1
    assert set(top[wide].tolist()) == {0, 1, 2}
    assert set(left[wide].tolist()) <= set(range(13))
    assert set(left[~wide].tolist()) == set(range(5))
    assert set(top[~wide].tolist()) <= set(range(23))


def test_the_noise_is_gaussian_with_the_given_deviation_and_not_clipped() -> None:
    noisy_BCHW, target_BCHW = _task(noise_sigma=51.0).train_batch(0, range(100))

    noise = noisy_BCHW - target_BCHW

    # 19,200 values: standard error 0.0014 of the mean, 0.001 of the deviation 51 / 255
    assert noise.mean().item() == pytest.approx(0, abs=0.006)
    assert noise.std().item() == pytest.approx(0.2, abs=0.005)
    assert noisy_BCHW.min() < 0


def test_the_noise_scales_with_sigma_and_stays_the_same_otherwise() -> None:
    weak, strong = _task(noise_sigma=10.0), _task(noise_sigma=20.0)

    noise = [
        noisy - clean for noisy, clean in (t.train_batch(0, range(4)) for t in (weak, strong))
    ]

    assert torch.allclose(noise[1], 2 * noise[0], atol=1e-6)


def test_items_are_whole_pictures_with_noise_seeded_by_their_name() -> None:
    items = _task().items("validation")

    drawn_CHW = torch.empty(3, 9, 7).normal_(generator=generator(7, "validation noise", "v"))
    assert [item.name for item in items] == ["v", "w"]
    assert items[0].target.shape == (3, 9, 7)
    assert items[0].target[0, 4, 0].item() == pytest.approx(4 / 255)
    assert torch.allclose(items[0].input_CHW, items[0].target + 25 / 255 * drawn_CHW)
    assert torch.equal(items[0].input_CHW, items[0].input_CHW)


def test_an_items_noise_depends_neither_on_its_neighbours_nor_on_its_place() -> None:
    alone = _task(test=[_picture("x", 9, 7)]).items("test")[0]

    second = _task(test=[_picture("u", 3, 3), _picture("x", 9, 7)]).items("test")[1]

    assert torch.equal(alone.input_CHW, second.input_CHW)


def test_validation_and_test_noise_differ_for_the_same_picture() -> None:
    task = _task()

    validation, test = task.items("validation")[0], task.items("test")[0]

    assert torch.equal(validation.target, test.target)
    assert not torch.equal(validation.input_CHW, test.input_CHW)


def test_items_can_be_shared_out_to_ranks() -> None:
    items = _task().items("validation")

    shares = [items[rank::3] for rank in range(3)]

    assert [[item.name for item in share] for share in shares] == [["v"], ["w"], []]
    assert torch.equal(shares[1][0].input_CHW, items[1].input_CHW)
    with pytest.raises(IndexError):
        items[2]


def test_the_loss_is_the_mean_squared_error() -> None:
    output = torch.tensor([[[[1.0, 0.0]]]])
    target = torch.tensor([[[[0.0, 2.0]]]])

    assert _task().loss(output, target, label_smoothing=0.0).item() == 2.5


def test_label_smoothing_is_refused() -> None:
    with pytest.raises(JobError, match=r"label_smoothing is 0\.1, but denoising has no labels"):
        _task().loss(torch.zeros(1), torch.zeros(1), label_smoothing=0.1)


def test_a_model_that_returns_no_images_is_refused() -> None:
    with pytest.raises(JobError, match=r"returns \(2, 100\) for images of \(2, 3, 8, 8\)"):
        _task().loss(torch.zeros(2, 100), torch.zeros(2, 3, 8, 8), label_smoothing=0.0)


def test_a_training_picture_smaller_than_the_crops_is_named() -> None:
    small = _picture("small.png", 7, 20)

    with pytest.raises(JobError, match=r"small\.png: is 20 x 7 pixels, smaller than the crops"):
        DenoisingTask(
            train=[small],
            validation=[],
            test=[],
            seed=0,
            noise_sigma=25.0,
            crop_px=8,
            crops_per_epoch=1,
            metrics=("psnr_db",),
        )
