"""Texture patches: parts that share no pixel, and an order that only the seed decides."""

import math

import pytest
import torch

from wconv_jobs.catalog import names
from wconv_jobs.data import load_data, textures
from wconv_jobs.data.textures import TextureTask
from wconv_jobs.errors import JobError
from wconv_jobs.task import Part

# Shape letters: B batch, C channels, H height, W width.


def _rows_task(patch_px: int = 8, patches: int = 50) -> TextureTask:
    """Return a task of two images, 100 x 40, whose grey level is 2 x row."""
    image_HW = (2 * torch.arange(100, dtype=torch.uint8))[:, None].repeat(1, 40)
    return TextureTask([image_HW, image_HW], 7, patch_px, patches, 1)


def test_items_lie_on_a_grid_in_strips_that_follow_each_other() -> None:
    task = _rows_task()
    places: dict[Part, set[tuple[int, int]]] = {}

    for part in ("validation", "test"):
        places[part] = {
            (int(item.name.split()[1]), int(item.name.split()[2])) for item in task.items(part)
        }

    # Rows 60 to 79 and 80 to 99 hold two rows of patches each, columns 0 to 39 five.
    lefts = range(0, 40, 8)
    assert places["validation"] == {(top, left) for top in (60, 68) for left in lefts}
    assert places["test"] == {(top, left) for top in (80, 88) for left in lefts}
    assert len(task.items("validation")) == len(task.items("test")) == 20


def test_training_patches_lie_in_the_upper_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the mean left in, the grey level tells the row.
    monkeypatch.setattr(textures, "_centred", lambda patch_HW: patch_HW / 255)

    patch_BCHW, _ = _rows_task(patches=400).train_batch(0, range(800))

    row = (patch_BCHW * 255 / 2).round().int()
    assert row.min() == 0
    assert row.max() == 59


def test_every_epoch_shows_each_patch_once_in_another_order() -> None:
    task = load_data("textures", seed=7, patches_per_class=5, patch_px=8)

    epochs = [task.train_batch(epoch, range(20)) for epoch in range(2)]

    # A flip changes the order of the pixels, not the sorted pixels.
    shown = [batch.flatten(1).sort(1).values for batch, _ in epochs]
    assert task.epoch_samples == 20
    assert torch.equal(torch.unique(shown[0], dim=0), torch.unique(shown[1], dim=0))
    assert len(torch.unique(shown[0], dim=0)) == 20
    assert not torch.equal(epochs[0][1], epochs[1][1])
    assert all(class_B.bincount().tolist() == [5, 5, 5, 5] for _, class_B in epochs)


def test_patches_are_flipped_along_both_axes() -> None:
    image_HW = torch.arange(64, dtype=torch.uint8).reshape(8, 8).repeat_interleave(13, 0)
    task = TextureTask([image_HW], 7, 8, 1, 1)

    shown = torch.cat([task.train_batch(epoch, range(1))[0] for epoch in range(40)])

    assert len(torch.unique(shown, dim=0)) == 4


def test_a_sample_asked_for_alone_equals_the_sample_in_a_batch() -> None:
    batch = load_data("textures", seed=7).train_batch(3, range(8))

    alone = load_data("textures", seed=7).train_batch(3, range(5, 6))

    assert torch.equal(alone[0][0], batch[0][5])
    assert alone[1].tolist() == [batch[1][5].item()]


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()

    load_data("textures", seed=7).train_batch(0, range(4))

    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_the_training_patches_and_not_the_items() -> None:
    one, other = (load_data("textures", seed=seed) for seed in (7, 8))

    assert not torch.equal(one.train_batch(0, range(4))[0], other.train_batch(0, range(4))[0])
    for a, b in zip(one.items("test"), other.items("test"), strict=True):
        assert a.name == b.name
        assert torch.equal(a.input_CHW, b.input_CHW)


def test_brightness_does_not_tell_the_class() -> None:
    task = load_data("textures", seed=7)

    patch_BCHW, _ = task.train_batch(0, range(100))

    means = [item.input_CHW.mean() for item in task.items("validation")]
    assert patch_BCHW.mean((1, 2, 3)).abs().max() < 1e-6
    assert torch.stack(means).abs().max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_values_are_repeated_over_the_channels(channels: int) -> None:
    task = load_data("textures", seed=7, channels=channels, patch_px=16)

    patch_BCHW, class_B = task.train_batch(0, range(4))

    item = task.items("validation")[0]
    assert patch_BCHW.shape == (4, channels, 16, 16)
    assert class_B.dtype == torch.int64
    assert item.input_CHW.shape == (channels, 16, 16)
    assert torch.equal(patch_BCHW[:, 0], patch_BCHW[:, -1])
    assert item.target.shape == ()


def test_the_largest_patches_leave_items_of_every_class_in_both_parts() -> None:
    task = load_data("textures", seed=7, patch_px=96, patches_per_class=1)

    for part in ("validation", "test"):
        assert {int(item.target) for item in task.items(part)} == {0, 1, 2, 3}
    with pytest.raises(JobError, match="'patch_px' is 97, but input should be less than or equal"):
        load_data("textures", seed=7, patch_px=97)


def test_every_image_is_listed_with_its_licence() -> None:
    assert textures.__doc__ is not None
    listed = [line for line in textures.__doc__.splitlines() if "CC0 (" in line]

    assert [line.split()[1] for line in listed] == list(textures.CLASSES)


def test_the_loss_is_the_cross_entropy_with_label_smoothing() -> None:
    task = load_data("textures", seed=7, patches_per_class=1)
    logits = torch.tensor([[math.log(5.0), 0.0, 0.0, 0.0]])
    target = torch.tensor([0])

    # Probabilities 5/8, 1/8, 1/8, 1/8; smoothing 0.4 gives each class 0.1 of the target.
    plain, smoothed = -math.log(5 / 8), -0.7 * math.log(5 / 8) - 0.3 * math.log(1 / 8)
    assert task.loss(logits, target, label_smoothing=0.0).item() == pytest.approx(plain)
    assert task.loss(logits, target, label_smoothing=0.4).item() == pytest.approx(smoothed)


def test_a_model_with_too_few_classes_is_refused() -> None:
    task = load_data("textures", seed=7, patches_per_class=1)

    with pytest.raises(JobError, match=r"returns \(2, 3\).* Use a classifier with num_classes: 4"):
        task.loss(torch.zeros(2, 3), torch.tensor([0, 1]), label_smoothing=0.0)


def test_the_metrics_exist_and_the_input_is_no_estimate() -> None:
    task = load_data("textures", seed=7, patches_per_class=1)

    assert set(task.metrics) <= set(names("metrics"))
    assert not task.input_is_estimate
