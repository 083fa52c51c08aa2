"""The user's own images: split, loaded, and checked before anything is launched."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from wconv_jobs.catalog import (
    check_data,
    default_of,
    generate_data,
    sample_shape,
    smoke_options,
)
from wconv_jobs.data import load_data
from wconv_jobs.errors import JobError
from wconv_jobs.tasks.task import Part


def _images(folder: Path, names: list[str], size: tuple[int, int] = (12, 11)) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", size, (number, 0, 0)).save(folder / name)


def _names(folder: Path, part: Part) -> list[str]:
    return list(load_data("image_folder", seed=0, folder=str(folder), crop_px=8).names(part))


def test_the_three_folders_are_the_three_parts(tmp_path: Path) -> None:
    _images(tmp_path / "train", ["a.png"])
    _images(tmp_path / "validation", ["b.png", "c.png"])
    _images(tmp_path / "test", ["d.png"], size=(11, 11))

    assert check_data("image_folder", {"folder": str(tmp_path), "crop_px": 8}) == []
    assert _names(tmp_path, "validation") == ["b.png", "c.png"]
    assert _names(tmp_path, "test") == ["d.png"]


def test_one_folder_is_split_by_name(tmp_path: Path) -> None:
    _images(tmp_path, [f"{number:02}.png" for number in range(20)])
    task = load_data("image_folder", seed=0, folder=str(tmp_path), crop_px=8, crops_per_epoch=200)

    # The red of each picture is its number.
    trained = (task.train_batch(0, range(200))[1][:, 0, 0, 0] * 255).round().int()

    assert check_data("image_folder", {"folder": str(tmp_path), "crop_px": 8}) == []
    assert set(trained.tolist()) == set(range(16))
    assert _names(tmp_path, "validation") == ["16.png", "17.png"]
    assert _names(tmp_path, "test") == ["18.png", "19.png"]


def test_three_images_are_one_for_each_part(tmp_path: Path) -> None:
    _images(tmp_path, ["a.png", "b.png", "c.png"])

    assert _names(tmp_path, "validation") == ["b.png"]
    assert _names(tmp_path, "test") == ["c.png"]


def test_two_images_are_too_few(tmp_path: Path) -> None:
    _images(tmp_path, ["a.png", "b.png"])

    assert check_data("image_folder", {"folder": str(tmp_path)}) == [
        f"{tmp_path}: holds 2 image(s), but train, validation and test need at least one each. "
        "Add images."
    ]


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    _images(tmp_path / "train", ["a.png"])

    assert check_data("image_folder", {"folder": str(tmp_path)}) == [
        f"{tmp_path}: has train, but lacks validation and test. Add what is missing, "
        "or put all images into one folder to have them split."
    ]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert check_data("image_folder", {"folder": f"{tmp_path}/nowhere"}) == [
        f"{tmp_path}/nowhere: cannot list this folder of images (No such file or directory). "
        "Name an existing folder that you may read."
    ]


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    problems = check_data("image_folder", {"folder": str(tmp_path)})

    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path}: holds no images.")


def test_training_images_smaller_than_the_crops_are_named_in_the_check_and_when_loading(
    tmp_path: Path,
) -> None:
    _images(tmp_path, ["a.png", "b.png", "c.png"], size=(12, 47))

    problems = check_data("image_folder", {"folder": str(tmp_path)})

    assert problems == [
        f"{tmp_path}/a.png: is 12 x 47 pixels, smaller than the crops of 48 x 48. "
        "Lower crop_px or remove this image."
    ]
    with pytest.raises(JobError, match=r"a\.png: is 12 x 47 pixels, smaller than the crops"):
        load_data("image_folder", seed=0, folder=str(tmp_path))


def test_damaged_images_of_every_part_are_named_in_the_check_and_when_loading(
    tmp_path: Path,
) -> None:
    _images(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    for name in ("a.png", "d.png"):
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")

    problems = check_data("image_folder", {"folder": str(tmp_path), "crop_px": 8})

    assert [problem.split(": is not an image")[0] for problem in problems] == [
        f"{tmp_path}/a.png",
        f"{tmp_path}/d.png",
    ]
    with pytest.raises(JobError, match=r"a\.png: is not an image"):
        load_data("image_folder", seed=0, folder=str(tmp_path), crop_px=8)


def test_the_home_folder_may_be_abbreviated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _images(tmp_path / "pictures", ["a.png", "b.png", "c.png"])

    assert check_data("image_folder", {"folder": "~/pictures", "crop_px": 8}) == []


def test_wrong_options_are_named_before_the_folder_is_looked_at() -> None:
    problems = check_data("image_folder", {"folder": "/nowhere", "noise_sigm": 3})

    assert len(problems) == 1
    assert problems[0].startswith("image_folder: unknown option 'noise_sigm'; did you mean")


def test_evaluated_images_that_are_too_small_for_the_metrics_are_named(tmp_path: Path) -> None:
    for part in ("train", "validation", "test"):
        _images(tmp_path / part, [f"{part}.png"], size=(12, 10))

    problems = check_data("image_folder", {"folder": str(tmp_path), "crop_px": 8})

    assert [problem.split(": is 12 x 10 pixels, ")[0] for problem in problems] == [
        f"{tmp_path}/validation/validation.png",
        f"{tmp_path}/test/test.png",
    ]
    with pytest.raises(JobError, match=r"test\.png: is 12 x 10 pixels, too small to be scored"):
        load_data("image_folder", seed=0, folder=str(tmp_path), crop_px=8)


def test_the_options_reach_the_task(tmp_path: Path) -> None:
    _images(tmp_path, ["a.png", "b.png", "c.png"])
    options: dict[str, Any] = {"folder": str(tmp_path), "crop_px": 11, "noise_sigma": 100.0}

    def noise(**more: Any) -> Tensor:
        task = load_data("image_folder", seed=0, **options, **more)
        noisy_BCHW, target_BCHW = task.train_batch(0, range(40))
        return noisy_BCHW - target_BCHW

    assert len(torch.unique(noise(), dim=0)) == 40
    # One picture of 12 x 11 pixels has two places for such a crop.
    assert len(torch.unique(noise(noise="fixed").round(decimals=5), dim=0)) == 2
    assert len(torch.unique(noise(noise="fixed", flips=True).round(decimals=5), dim=0)) > 8
    # Black pictures
    assert noise(clip=True).min() == 0


def test_synthetic_images_can_be_trained_with_the_options_of_a_smoke_run(tmp_path: Path) -> None:
    generate_data("image_folder", tmp_path)
    options = {**smoke_options("data", "image_folder"), "folder": str(tmp_path)}

    assert check_data("image_folder", options, thorough=True) == []
    task = load_data("image_folder", seed=0, **options)
    batch, _ = task.train_batch(0, range(16))
    assert task.epoch_samples == 16
    assert batch.shape == (16, *sample_shape("image_folder", options))
    assert len(task.names("validation")) == len(task.names("test")) == 2


def test_synthetic_images_are_the_same_whoever_makes_them_and_leave_files_alone(
    tmp_path: Path,
) -> None:
    generate_data("image_folder", tmp_path / "one")
    (tmp_path / "other" / "train").mkdir(parents=True)
    (tmp_path / "other" / "train" / "train_0.png").write_text("mine")

    generate_data("image_folder", tmp_path / "other")
    generate_data("image_folder", tmp_path / "other")

    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file()}
        for folder in ("one", "other")
    )
    assert len(one) == len(set(one.values())) == 10
    assert other == one | {"train_0.png": b"mine"}


def test_the_shape_of_a_sample_follows_the_default_of_load() -> None:
    assert sample_shape("image_folder", {"folder": "/nowhere"}) == (3, 48, 48)
    assert default_of("data", "image_folder", "crop_px") == 48
    assert sample_shape("image_folder", {"folder": "/nowhere", "crop_px": 9}) == (3, 9, 9)


def test_a_relative_folder_is_refused_with_the_absolute_one(tmp_path: Path) -> None:
    (problem,) = check_data("image_folder", {"folder": "pictures"})

    assert problem == (
        "pictures: is relative, but jobs do not start in this folder. "
        f"Write {Path('pictures').absolute()}."
    )
