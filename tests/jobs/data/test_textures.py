"""Texture patches: parts that share no pixel, and an order that only the seed decides."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from wconv_jobs.catalog import (
    check_options,
    data_kind,
    epoch_metrics,
    sample_shape,
    smoke_options,
)
from wconv_jobs.data import load_data, textures
from wconv_jobs.errors import JobError
from wconv_jobs.tasks.classification import ClassificationTask
from wconv_jobs.tasks.task import Part, Task

# Shape letters: B batch, C channels, H height, W width.


def _rows_task(patch_px: int = 8, patches: int = 50) -> ClassificationTask:
    """Return a task of two images, 100 x 40, whose gray level is 2 x row."""
    image_HW = np.repeat(2 * np.arange(100, dtype=np.uint8)[:, None], 40, axis=1)
    return textures.texture_task(
        [image_HW, image_HW],
        textures.Options(patch_px=patch_px, patches_per_class=patches, channels=1),
        seed=7,
        device="cpu",
    )


def _items(task: Task, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(task.evaluation_batches(part, range(len(task.names(part)))))
    images, classes = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(classes)


def test_items_lie_on_a_grid_in_strips_that_follow_each_other() -> None:
    task = _rows_task()
    places: dict[Part, set[tuple[int, int]]] = {}

    for part in ("validation", "test"):
        places[part] = {(int(name.split()[1]), int(name.split()[2])) for name in task.names(part)}

    # Rows 60 to 79 and 80 to 99 hold two rows of patches each, columns 0 to 39 five.
    lefts = range(0, 40, 8)
    assert places["validation"] == {(top, left) for top in (60, 68) for left in lefts}
    assert places["test"] == {(top, left) for top in (80, 88) for left in lefts}
    assert len(task.names("validation")) == len(task.names("test")) == 20


def test_training_patches_lie_in_the_upper_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the mean left in, the gray level tells the row.
    monkeypatch.setattr(textures, "centered", lambda image_BCHW: image_BCHW / 255)

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
    image_HW = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8), 13, axis=0)
    options = textures.Options(patch_px=8, patches_per_class=1, channels=1)
    task = textures.texture_task([image_HW], options, seed=7, device="cpu")

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
    assert one.names("test") == other.names("test")
    assert torch.equal(_items(one, "test")[0], _items(other, "test")[0])


def test_a_patch_holds_gray_values_minus_their_mean() -> None:
    # Gray levels 0, 51, 102 and 255, i.e. 0, 0.2, 0.4 and 1 with the mean 0.4.
    image_BCHW = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).view(1, 1, 2, 2)

    value_BCHW = textures.centered(image_BCHW)

    assert value_BCHW.dtype == torch.float32
    assert value_BCHW.flatten().tolist() == pytest.approx([-0.4, -0.2, 0.0, 0.6], abs=1e-6)


def test_brightness_does_not_tell_the_class() -> None:
    task = load_data("textures", seed=7)

    patch_BCHW, _ = task.train_batch(0, range(100))

    assert patch_BCHW.mean((1, 2, 3)).abs().max() < 1e-6
    assert _items(task, "validation")[0].mean((1, 2, 3)).abs().max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_values_are_repeated_over_the_channels(channels: int) -> None:
    options: dict[str, Any] = {"channels": channels, "patch_px": 16}
    task = load_data("textures", seed=7, **options)

    patch_BCHW, class_B = task.train_batch(0, range(4))

    item_BCHW, item_class_B = _items(task, "validation")
    assert patch_BCHW.shape == (4, channels, 16, 16)
    assert sample_shape("textures", options) == (channels, 16, 16)
    assert class_B.dtype == item_class_B.dtype == torch.int64
    assert item_BCHW.shape[1:] == (channels, 16, 16)
    assert torch.equal(patch_BCHW[:, 0], patch_BCHW[:, -1])


def test_the_largest_patches_leave_items_of_every_class_in_both_parts() -> None:
    task = load_data("textures", seed=7, patch_px=96, patches_per_class=1)

    for part in ("validation", "test"):
        assert set(_items(task, part)[1].tolist()) == {0, 1, 2, 3}
    with pytest.raises(JobError, match="'patch_px' is 97, but input should be less than or equal"):
        load_data("textures", seed=7, patch_px=97)


def test_every_image_is_listed_with_its_license() -> None:
    assert textures.__doc__ is not None
    listed = [line for line in textures.__doc__.splitlines() if "CC0 (" in line]

    assert [line.split()[1] for line in listed] == list(textures.CLASSES)


def test_a_model_with_too_few_classes_is_refused() -> None:
    task = load_data("textures", seed=7, patches_per_class=1)

    with pytest.raises(JobError, match=r"returns \(2, 3\).* Use a classifier with num_classes: 4"):
        task.loss(torch.zeros(2, 3), torch.tensor([0, 1]), label_smoothing=0.0)


def test_it_is_a_classification_whose_input_is_no_estimate() -> None:
    task = load_data("textures", seed=7, **smoke_options("data", "textures"))

    assert data_kind("textures") == "classification"
    assert task.metrics == epoch_metrics("classification")
    assert task.classes == len(textures.CLASSES)
    assert task.epoch_samples == 160
    assert not task.input_is_estimate
    assert check_options("data", "textures", smoke_options("data", "textures")) == []


def test_a_login_node_learns_the_shape_without_torch() -> None:
    code = (
        "import sys; from wconv_jobs.catalog import sample_shape; sample_shape('textures', {}); "
        "sys.exit('torch' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
