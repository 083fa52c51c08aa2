"""The user's own images: split, loaded, and checked before anything is launched."""

from pathlib import Path

import pytest
from PIL import Image

from wconv_jobs.catalog import check_data
from wconv_jobs.data import load_data
from wconv_jobs.errors import JobError
from wconv_jobs.task import Part


def _images(folder: Path, names: list[str], size: tuple[int, int] = (12, 10)) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", size, (number, 0, 0)).save(folder / name)


def _names(folder: Path, part: Part) -> list[str]:
    task = load_data("image_folder", seed=0, folder=str(folder), crop_px=8)
    return [item.name for item in task.items(part)]


def test_the_three_folders_are_the_three_parts(tmp_path: Path) -> None:
    _images(tmp_path / "train", ["a.png"])
    _images(tmp_path / "validation", ["b.png", "c.png"])
    _images(tmp_path / "test", ["d.png"], size=(4, 4))

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
    problems = check_data("image_folder", {"folder": "/nowhere", "noise": 3})

    assert len(problems) == 1
    assert problems[0].startswith("image_folder: unknown option 'noise'; did you mean")


def test_a_relative_folder_is_refused_with_the_absolute_one(tmp_path: Path) -> None:
    (problem,) = check_data("image_folder", {"folder": "pictures"})

    assert problem == (
        "pictures: is relative, but jobs do not start in this folder. "
        f"Write {Path('pictures').absolute()}."
    )
