"""Denoising: crops and noise are functions of the seed and of nothing else."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.tasks import denoising
from wconv_jobs.tasks.denoising import DenoisingTask
from wconv_jobs.tasks.pictures import PictureStore
from wconv_jobs.tasks.random_streams import normal, streams
from wconv_jobs.tasks.task import Part

# Shape letters: B batch, C channels, H height, W width.

_Sizes = dict[str, tuple[int, int]]


def _picture(height: int, width: int, blue: int) -> NDArray[np.uint8]:
    """Return a picture whose pixels tell where they are: red the row, green the column."""
    pixels_HWC = np.zeros((height, width, 3), np.uint8)
    pixels_HWC[..., 0] = np.arange(height)[:, None]
    pixels_HWC[..., 1] = np.arange(width)
    pixels_HWC[..., 2] = blue
    return pixels_HWC


def _task(
    *,
    train: _Sizes | None = None,
    test: _Sizes | None = None,
    seed: int = 7,
    noise_sigma: float = 25.0,
    device: str = "cpu",
    **options: Any,
) -> DenoisingTask:
    parts = (
        train or {"a": (10, 20), "b": (30, 12)},
        {"v": (19, 17), "w": (15, 16)},
        test or {"v": (19, 17)},
    )
    sizes = [(name, size) for part in parts for name, size in part.items()]
    flat = [_picture(*size, blue=number).ravel() for number, (_, size) in enumerate(sizes)]
    ends = [0, *np.cumsum([len(part) for part in parts]).tolist()]
    train_range, validation_range, test_range = (
        range(ends[number], ends[number + 1]) for number in range(3)
    )
    return DenoisingTask(
        store=PictureStore(
            torch.from_numpy(np.concatenate(flat)),
            [name for name, _ in sizes],
            [size for _, size in sizes],
            device,
        ),
        parts={"train": train_range, "validation": validation_range, "test": test_range},
        seed=seed,
        device=device,
        noise_sigma=noise_sigma,
        **{"crop_px": 8, "crops_per_epoch": 100} | options,
    )


def _items(task: DenoisingTask, part: Part) -> list[tuple[Tensor, Tensor]]:
    return list(task.evaluation_batches(part, range(len(task.names(part)))))


@pytest.mark.parametrize("noise", ["fresh", "fixed"])
def test_a_sample_is_the_same_in_every_batch(noise: str) -> None:
    # 243 values in a sample: vectors and blocks of the processor meet no boundary of samples.
    options: dict[str, Any] = {"noise": noise, "flips": True, "crop_px": 9}
    noisy_BCHW, target_BCHW = _task(**options).train_batch(3, range(50))

    for samples in (range(5, 6), range(7, 20), range(1, 50, 2), range(49, 30, -3)):
        noisy_part, target_part = _task(**options).train_batch(3, samples)

        assert torch.equal(noisy_part, noisy_BCHW[list(samples)])
        assert torch.equal(target_part, target_BCHW[list(samples)])


def test_a_sample_is_the_same_wherever_its_crop_is_drawn_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_at_once, _ = _task(flips=True).train_batch(3, range(50))

    monkeypatch.setattr(denoising, "AHEAD", 7)
    task = _task(flips=True)
    asked = (range(6), range(6, 12), range(3, 9), range(13, 40, 2), range(49, 30, -3))
    parts = [task.train_batch(3, samples)[0] for samples in asked]

    for samples, part in zip(asked, parts, strict=True):
        assert torch.equal(part, all_at_once[list(samples)])


def test_two_ranks_together_see_the_batch_of_one() -> None:
    one = _task().train_batch(0, range(8))

    first, second = (_task().train_batch(0, part) for part in (range(4), range(4, 8)))

    assert torch.equal(torch.cat([first[0], second[0]]), one[0])
    assert torch.equal(torch.cat([first[1], second[1]]), one[1])


def test_the_order_of_asking_does_not_matter() -> None:
    forwards, backwards = _task(), _task()
    expected = [forwards.train_batch(epoch, range(4))[0] for epoch in range(3)]

    _items(backwards, "test")
    torch.manual_seed(99)
    got = [backwards.train_batch(epoch, range(4))[0] for epoch in (2, 1, 0)]

    assert all(torch.equal(a, b) for a, b in zip(expected, reversed(got), strict=True))


def test_the_global_random_state_is_left_alone() -> None:
    task = _task()
    before = torch.get_rng_state()

    task.train_batch(0, range(4))
    _items(task, "validation")

    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_epochs_and_samples_have_crops_and_noise_of_their_own() -> None:
    noisy_BCHW = torch.stack(
        [
            _task(seed=seed).train_batch(epoch, range(sample, sample + 1))[0][0]
            for seed in (7, 8)
            for epoch in (0, 1)
            for sample in (0, 1)
        ]
    )

    assert len(torch.unique(noisy_BCHW, dim=0)) == 8


def test_batches_are_float32_and_contiguous() -> None:
    for batch in (*_task(flips=True).train_batch(0, range(4)), *_items(_task(), "test")[0]):
        assert batch.dtype == torch.float32
        assert batch.is_contiguous()


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
    wide = level_BCHW[:, 2, 0, 0] == 0
    assert set(top[wide].tolist()) == {0, 1, 2}
    assert set(left[wide].tolist()) <= set(range(13))
    assert set(left[~wide].tolist()) == set(range(5))
    assert set(top[~wide].tolist()) <= set(range(23))


def test_each_picture_is_as_likely_as_any_other_whatever_its_size() -> None:
    train = {"a": (8, 8), "b": (80, 80), "c": (8, 80)}

    _, target_BCHW = _task(train=train, crops_per_epoch=3000).train_batch(0, range(3000))

    counts = torch.bincount((target_BCHW[:, 2, 0, 0] * 255).round().int(), minlength=3)
    # 1,000 of each are expected, with a standard deviation of 26.
    assert (counts - 1000).abs().max() < 100


def test_the_noise_is_gaussian_with_the_given_deviation_and_not_clipped() -> None:
    noisy_BCHW, target_BCHW = _task(noise_sigma=51.0).train_batch(0, range(100))

    noise = noisy_BCHW - target_BCHW

    # 19,200 values: standard error 0.0014 of the mean, 0.001 of the deviation 51 / 255
    assert noise.mean().item() == pytest.approx(0, abs=0.006)
    assert noise.std().item() == pytest.approx(0.2, abs=0.005)
    assert (noise.abs() < 0.2).float().mean().item() == pytest.approx(0.683, abs=0.015)
    assert noisy_BCHW.min() < 0


def test_fixed_noise_is_gaussian_with_the_given_deviation() -> None:
    task = _task(train={"a": (80, 80)}, noise_sigma=51.0, noise="fixed", crop_px=80)

    noisy_BCHW, target_BCHW = task.train_batch(0, range(1))

    noise = noisy_BCHW - target_BCHW
    assert noise.mean().item() == pytest.approx(0, abs=0.006)
    assert noise.std().item() == pytest.approx(0.2, abs=0.005)


def test_the_noise_scales_with_sigma_and_stays_the_same_otherwise() -> None:
    weak, strong = _task(noise_sigma=10.0), _task(noise_sigma=20.0)

    noise = [
        noisy - clean for noisy, clean in (t.train_batch(0, range(4)) for t in (weak, strong))
    ]

    assert torch.allclose(noise[1], 2 * noise[0], atol=1e-6)


@pytest.mark.parametrize("flips", [False, True])
def test_fixed_noise_shows_one_noisy_version_of_each_picture(flips: bool) -> None:
    task = _task(train={"a": (9, 10)}, noise="fixed", flips=flips, crops_per_epoch=60)
    seen: dict[tuple[int, int], list[float]] = {}

    for epoch in (0, 1):
        noisy_BCHW, target_BCHW = task.train_batch(epoch, range(60))
        noise_BCHW = noisy_BCHW - target_BCHW
        # Red and green tell the pixel's row and column.
        place_BCHW = (target_BCHW * 255).round().int()
        for sample in range(60):
            for row in range(8):
                for column in range(8):
                    place = tuple(place_BCHW[sample, :2, row, column].tolist())
                    seen.setdefault(place, []).append(noise_BCHW[sample, 2, row, column].item())

    assert len(seen) == 90
    means = [sum(noise) / len(noise) for noise in seen.values()]
    assert all(max(noise) - min(noise) < 1e-6 and len(noise) > 1 for noise in seen.values())
    assert np.std(means) == pytest.approx(25 / 255, rel=0.3)


def test_fresh_noise_is_another_for_each_sample_of_the_same_place() -> None:
    task = _task(train={"a": (8, 8)})

    noisy_BCHW, target_BCHW = task.train_batch(0, range(2))

    assert torch.equal(target_BCHW[0], target_BCHW[1])
    assert (noisy_BCHW[0] - noisy_BCHW[1]).abs().min() > 0


def test_fixed_noise_differs_from_picture_to_picture() -> None:
    train = {"a": (8, 8), "b": (8, 8)}

    noisy_BCHW, target_BCHW = _task(train=train, noise="fixed").train_batch(0, range(20))

    blue_B = target_BCHW[:, 2, 0, 0] * 255
    noise_BCHW = noisy_BCHW - target_BCHW
    first, second = noise_BCHW[blue_B < 0.5], noise_BCHW[blue_B > 0.5]
    assert (first[0] - second[0]).abs().max() > 0.01


def test_clipped_inputs_stay_in_the_unit_range_and_are_the_others_cut_off() -> None:
    plain, clipped = _task(noise_sigma=100.0), _task(noise_sigma=100.0, clip=True)

    for free, cut in (
        (plain.train_batch(0, range(4)), clipped.train_batch(0, range(4))),
        (_items(plain, "test")[0], _items(clipped, "test")[0]),
    ):
        assert free[0].min() < 0
        assert torch.equal(cut[0], free[0].clamp(0, 1))
        assert torch.equal(cut[1], free[1])


def test_flips_show_the_eight_symmetries_of_a_square_equally_often() -> None:
    task = _task(train={"a": (8, 8)}, flips=True, crops_per_epoch=800)

    _, target_BCHW = task.train_batch(0, range(800))

    # Red and green in three corners; red rises along the rows of the picture, green along columns.
    corners = (target_BCHW[:, :2, [0, 0, 7], [0, 7, 0]] * 255).round().int().flatten(1)
    kinds, counts = torch.unique(corners, dim=0, return_counts=True)
    along_rows, along_columns = ([0, 0, 7], [7, 7, 0]), ([0, 7, 0], [7, 0, 7])
    expected = [*product(along_rows, along_columns), *product(along_columns, along_rows)]
    assert sorted(kinds.tolist()) == sorted(red + green for red, green in expected)
    # 100 of each are expected, with a standard deviation of 9.
    assert (counts - 100).abs().max() < 40


def test_without_flips_crops_are_as_in_the_picture() -> None:
    _, target_BCHW = _task(train={"a": (8, 8)}).train_batch(0, range(20))

    assert len(torch.unique(target_BCHW, dim=0)) == 1


def test_items_are_whole_pictures_with_noise_seeded_by_their_name() -> None:
    task = _task()

    (noisy_BCHW, target_BCHW), _ = _items(task, "validation")

    stream = streams(7, "validation noise", "v", samples=torch.tensor([0]))
    drawn_BCHW = normal(stream, 3 * 19 * 17).reshape(1, 3, 19, 17)
    assert task.names("validation") == ["v", "w"]
    assert target_BCHW.shape == (1, 3, 19, 17)
    assert target_BCHW[0, 0, 4, 0].item() == pytest.approx(4 / 255)
    assert torch.allclose(noisy_BCHW, target_BCHW + 25 / 255 * drawn_BCHW)
    assert torch.equal(_items(task, "validation")[0][0], noisy_BCHW)


def test_an_items_noise_depends_neither_on_its_neighbors_nor_on_its_place() -> None:
    alone = _items(_task(test={"x": (19, 17)}), "test")[0]

    second = _items(_task(test={"u": (13, 13), "x": (19, 17)}), "test")[1]

    # Blue is the number of the picture.
    assert torch.equal(alone[0][:, :2], second[0][:, :2])


def test_validation_and_test_noise_differ_for_the_same_picture() -> None:
    task = _task(test={"v": (19, 17)})

    validation, test = _items(task, "validation")[0], _items(task, "test")[0]

    assert torch.equal(validation[1][:, :2], test[1][:, :2])
    assert not torch.allclose(validation[0] - validation[1], test[0] - test[1], atol=1e-3)


def test_items_can_be_shared_out_to_ranks() -> None:
    task = _task()
    whole = _items(task, "validation")

    shares = [list(task.evaluation_batches("validation", range(2)[rank::3])) for rank in range(3)]

    assert [len(share) for share in shares] == [1, 1, 0]
    assert torch.equal(shares[0][0][0], whole[0][0])
    assert torch.equal(shares[1][0][0], whole[1][0])


def test_the_metrics_are_those_of_denoising() -> None:
    task = _task()

    assert task.metrics == ("nrmse", "psnr_db", "ssim")
    assert task.classes is None
    assert task.input_is_estimate


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


def test_every_picture_that_is_too_small_is_named() -> None:
    with pytest.raises(JobError) as caught:
        _task(train={"small.png": (7, 20), "b": (8, 8)}, test={"tiny.png": (10, 30)})

    assert str(caught.value).splitlines() == [
        "small.png: is 20 x 7 pixels, smaller than the crops of 8 x 8. Lower crop_px or remove "
        "this image.",
        "tiny.png: is 30 x 10 pixels, too small to be scored, which takes 11 x 11. Remove this "
        "image.",
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("noise", ["fresh", "fixed"])
def test_a_gpu_shows_what_a_cpu_shows(noise: str) -> None:
    on_cpu, on_gpu = (
        _task(noise=noise, flips=True, device=device).train_batch(1, range(64))
        for device in ("cpu", "cuda")
    )

    # Crops and random bits are the same; logarithm and cosine differ in the last place.
    assert all(batch.is_cuda for batch in on_gpu)
    assert torch.equal(on_gpu[1].cpu(), on_cpu[1])
    assert torch.allclose(on_gpu[0].cpu(), on_cpu[0], atol=1e-5)


@pytest.mark.gpu
def test_pictures_that_stay_in_the_hosts_memory_give_the_same_batches_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = _task(noise="fixed", device="cuda").train_batch(1, range(64))
    monkeypatch.setattr("wconv_jobs.tasks.residence.SHARE", 0.0)

    there = _task(noise="fixed", device="cuda").train_batch(1, range(64))

    assert torch.equal(here[0], there[0])
    assert torch.equal(here[1], there[1])
