"""The user's own classes: scaled once, split by name, and changes noticed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wconv_jobs.catalog import (
    check_data,
    check_options,
    data_kind,
    generate_data,
    prepare_data,
    sample_shape,
    smoke_options,
)
from wconv_jobs.data import class_folder, load_data
from wconv_jobs.errors import JobError

# Shape letters: B batch, C channels, H height, W width.


def _images(folder: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    """Write images whose red is their number, green 100 and blue 200."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (number, 100, 200)).save(folder / name)


def _two_classes(folder: Path) -> None:
    """Write ten images for each of two classes: red 0 to 9 and 10 to 19."""
    _images(folder, *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(10)))


def _silent(done: int, total: int) -> None:
    pass


def _options(folder: Path, **options: Any) -> dict[str, Any]:
    return {"folder": str(folder), "image_px": 8, **options}


def _prepare(folder: Path, **options: Any) -> Path:
    prepare_data("class_folder", _options(folder, **options), _silent)
    return folder / "prepared" / "class_folder-v1-8px"


def _red(batch_BCHW: torch.Tensor) -> list[int]:
    gray_B = batch_BCHW[:, 0, 0, 0] * class_folder.STD[0] + class_folder.MEAN[0]
    return [round(value) for value in (255 * gray_B).tolist()]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("fingerprint", "it lacks fingerprint"),
        ("listing", "it lacks listing"),
        ("sha256", "it lacks sha256"),
        (None, "its listing is not that of a class_folder"),
    ],
)
def test_an_index_that_lacks_a_key_is_named(tmp_path: Path, key: str | None, reason: str) -> None:
    _two_classes(tmp_path)
    prepared = _prepare(tmp_path)
    index = json.loads((prepared / "index.json").read_text("utf-8"))
    del (index["listing"] if key is None else index)[key or "names"]
    (prepared / "index.json").write_text(json.dumps(index), "utf-8")
    shutil.rmtree(tmp_path / "cat")
    shutil.rmtree(tmp_path / "dog")
    sentence = (
        f"{prepared}: its index cannot be read ({reason}). Delete the folder and prepare the data "
        "again."
    )

    assert check_data("class_folder", _options(tmp_path)) == [sentence]
    with pytest.raises(JobError) as raised:
        load_data("class_folder", seed=7, **_options(tmp_path))
    assert str(raised.value) == sentence


def test_one_folder_is_split_class_by_class_in_the_order_of_the_names(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    _prepare(tmp_path)

    task = load_data("class_folder", seed=7, **_options(tmp_path, validation_fraction=0.2))

    train_BCHW, class_B = task.train_batch(0, range(14))
    ((test_BCHW, test_class_B),) = task.evaluation_batches("test", range(2))
    assert sorted(_red(train_BCHW)) == [*range(7), *range(10, 17)]
    assert [red // 10 for red in _red(train_BCHW)] == class_B.tolist()
    assert task.names("validation") == ("cat/7.png", "cat/8.png", "dog/7.png", "dog/8.png")
    assert task.names("test") == ("cat/9.png", "dog/9.png")
    assert _red(test_BCHW) == [9, 19]
    assert test_class_B.tolist() == [0, 1]
    assert task.epoch_samples == 14
    assert task.classes == 2
    assert check_data("class_folder", _options(tmp_path)) == []


def test_the_folders_of_the_parts_are_the_parts(tmp_path: Path) -> None:
    parts = ("train", "validation", "test")
    _images(tmp_path, *(f"{part}/{name}/1.png" for part in parts for name in ("cat", "dog")))
    _prepare(tmp_path)

    task = load_data("class_folder", seed=7, **_options(tmp_path))

    validation, test = (
        [_red(image) for image, _ in task.evaluation_batches(part, range(2))]
        for part in ("validation", "test")
    )
    assert sorted(_red(task.train_batch(0, range(2))[0])) == [0, 1]
    assert validation == [[2, 3]]
    assert test == [[4, 5]]


def test_images_are_normalized_channel_by_channel(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    _prepare(tmp_path)

    task = load_data("class_folder", seed=7, **_options(tmp_path))

    ((image_BCHW, _),) = task.evaluation_batches("test", range(1))
    expected = [
        (gray / 255 - mean) / std
        for gray, mean, std in zip((9, 100, 200), class_folder.MEAN, class_folder.STD, strict=True)
    ]
    assert image_BCHW.shape[1:] == sample_shape("class_folder", _options(tmp_path)) == (3, 8, 8)
    assert image_BCHW[0].mean((1, 2)).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(16, 8), (8, 16)])
def test_the_square_in_the_middle_is_taken(size: tuple[int, int]) -> None:
    width, height = size
    pixels_HWC = np.zeros((height, width, 3), np.uint8)
    top, left = (height - 8) // 2, (width - 8) // 2
    middle_HWC = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    pixels_HWC[top : top + 8, left : left + 8] = middle_HWC

    square_CHW = class_folder._square(pixels_HWC, 8)

    assert np.array_equal(square_CHW, middle_HWC.transpose(2, 0, 1))


def test_larger_images_are_averaged_and_not_sampled() -> None:
    # A chequerboard of single pixels is gray when it is made four times as small.
    board_HW = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)

    square_CHW = class_folder._square(np.repeat(board_HW[:, :, None], 3, 2), 16)

    assert np.abs(square_CHW.astype(int) - 100).max() <= 2


def test_flip_and_crop_are_options(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    for path in tmp_path.glob("*/*.png"):
        pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
        Image.fromarray(pixels).save(path)
    _prepare(tmp_path)

    def batch(**options: Any) -> torch.Tensor:
        task = load_data("class_folder", seed=7, **_options(tmp_path, **options))
        return torch.cat([task.train_batch(epoch, range(16))[0] for epoch in range(10)])

    assert len(torch.unique(batch(flip=False), dim=0)) == 1
    assert len(torch.unique(batch(), dim=0)) == 2
    assert len(torch.unique(batch(flip=False, pad_px=1), dim=0)) == 9


def test_progress_is_told_image_by_image_and_once(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    told: list[tuple[int, int]] = []

    for _ in range(2):
        prepare_data("class_folder", _options(tmp_path), lambda *progress: told.append(progress))

    assert told == [(number, 20) for number in range(1, 21)]


def test_data_that_are_not_prepared_are_said_so(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    sentence = (
        f"{tmp_path}/prepared/class_folder-v1-8px: the data have not been prepared. Run "
        "`wconv-sweep data prepare --study STUDY` first."
    )

    assert check_data("class_folder", _options(tmp_path)) == [sentence]
    with pytest.raises(JobError) as raised:
        load_data("class_folder", seed=7, **_options(tmp_path))
    assert str(raised.value) == sentence


def test_each_size_is_prepared_by_itself(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    _prepare(tmp_path)

    prepare_data("class_folder", _options(tmp_path, image_px=16), _silent)

    assert sorted(os.listdir(tmp_path / "prepared")) == [
        "class_folder-v1-16px",
        "class_folder-v1-8px",
    ]
    task = load_data("class_folder", seed=7, **_options(tmp_path, image_px=16))
    assert task.train_batch(0, range(2))[0].shape == (2, 3, 16, 16)


def test_the_prepared_data_of_two_folders_may_lie_in_one(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "other")):
        _images(tmp_path / name, *(f"{c}/{n}.png" for c in "ab" for n in range(3 + number)))
        _prepare(tmp_path / name, cache_folder=str(tmp_path / "cache"))

    tasks = [
        load_data(
            "class_folder",
            seed=7,
            **_options(tmp_path / name, cache_folder=str(tmp_path / "cache")),
        )
        for name in ("one", "other")
    ]

    assert [task.epoch_samples for task in tasks] == [2, 4]
    assert len(os.listdir(tmp_path / "cache")) == 2
    assert not (tmp_path / "one" / "prepared").exists()


def test_prepared_data_are_no_class_when_the_cache_folder_is_changed(tmp_path: Path) -> None:
    _two_classes(tmp_path / "data")
    _prepare(tmp_path / "data")

    _prepare(tmp_path / "data", cache_folder=str(tmp_path / "cache"))

    options = _options(tmp_path / "data", cache_folder=str(tmp_path / "cache"))
    assert check_data("class_folder", options) == []


@pytest.mark.parametrize("thorough", [False, True])
def test_prepared_data_suffice(tmp_path: Path, thorough: bool) -> None:
    _two_classes(tmp_path)
    _prepare(tmp_path)
    shutil.rmtree(tmp_path / "cat")
    shutil.rmtree(tmp_path / "dog")

    assert check_data("class_folder", _options(tmp_path), thorough=thorough) == []
    assert load_data("class_folder", seed=7, **_options(tmp_path)).epoch_samples == 16
    _prepare(tmp_path)


def _remove(folder: Path) -> None:
    (folder / "cat" / "3.png").unlink()


def _add(folder: Path) -> None:
    shutil.copy(folder / "cat" / "3.png", folder / "cat" / "33.png")


def _replace(folder: Path) -> None:
    _images(folder, "cat/3.png", size=(30, 30))


@pytest.mark.parametrize("change", [_remove, _add, _replace])
def test_images_that_have_changed_since_are_noticed(tmp_path: Path, change: Any) -> None:
    _two_classes(tmp_path)
    prepared = _prepare(tmp_path)
    change(tmp_path)

    problems = check_data("class_folder", _options(tmp_path))

    assert problems == [
        f"{prepared}: was prepared from other images than those in {tmp_path}. Restore those, or "
        f"delete {prepared} and prepare the data again."
    ]
    with pytest.raises(JobError, match="was prepared from other images"):
        _prepare(tmp_path)


def test_changed_prepared_data_are_found_by_a_thorough_check(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    path = _prepare(tmp_path) / "images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert check_data("class_folder", _options(tmp_path)) == []
    (problem,) = check_data("class_folder", _options(tmp_path), thorough=True)
    assert problem.startswith(f"{path}: has changed since it was prepared.")


def test_cut_off_prepared_data_are_found_at_once(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    path = _prepare(tmp_path) / "images.npy"
    path.write_bytes(path.read_bytes()[:-1])

    (problem,) = check_data("class_folder", _options(tmp_path))

    assert problem.startswith(f"{path}: cannot be read (")
    with pytest.raises(JobError, match=r"images\.npy: cannot be read"):
        load_data("class_folder", seed=7, **_options(tmp_path))


def test_damaged_images_are_named_by_a_thorough_check_and_when_preparing(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    for name in ("cat/3.png", "dog/5.png"):
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")

    problems = check_data("class_folder", _options(tmp_path), thorough=True)

    assert [problem.split(": is not an image")[0] for problem in problems] == [
        f"{tmp_path}/cat/3.png",
        f"{tmp_path}/dog/5.png",
    ]
    with pytest.raises(JobError, match=r"(?s)cat/3\.png: is not an image.*\n.*dog/5\.png: is not"):
        _prepare(tmp_path)
    assert os.listdir(tmp_path / "prepared") == []


def test_a_class_too_small_to_be_split_is_named_in_the_check_and_when_loading(
    tmp_path: Path,
) -> None:
    _two_classes(tmp_path)
    _images(tmp_path, "cow/1.png", "cow/2.png")

    before = check_data("class_folder", _options(tmp_path))
    _prepare(tmp_path)

    sentence = (
        "class cow: has 2 image(s) to be split, which leaves none for training. Add images, or "
        "lower the validation_fraction and the test_fraction of data.options."
    )
    assert before == check_data("class_folder", _options(tmp_path)) == [sentence]
    with pytest.raises(JobError, match="class cow: has 2 image"):
        load_data("class_folder", seed=7, **_options(tmp_path))


def test_problems_of_the_folder_are_told_by_check_and_prepare(tmp_path: Path) -> None:
    (problem,) = check_data("class_folder", _options(tmp_path / "nowhere"))

    assert problem.startswith(f"{tmp_path}/nowhere: cannot list this folder of classes (No such ")
    with pytest.raises(JobError, match="nowhere: cannot list this folder of classes"):
        _prepare(tmp_path / "nowhere")


@pytest.mark.parametrize("option", ["folder", "cache_folder"])
def test_relative_folders_are_refused(tmp_path: Path, option: str) -> None:
    (problem,) = check_data("class_folder", _options(tmp_path) | {option: "data"})

    assert problem.startswith("data: is relative, but jobs do not start in this folder. Write ")


def test_a_model_with_too_few_classes_is_refused(tmp_path: Path) -> None:
    _images(tmp_path, *(f"{name}/{number}.png" for name in "abc" for number in range(3)))
    _prepare(tmp_path)
    task = load_data("class_folder", seed=7, **_options(tmp_path))

    with pytest.raises(JobError, match=r"returns \(1, 2\).* Use a classifier with num_classes: 3"):
        task.loss(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=0.0)


_PREPARE = """
import os, signal, sys
from wconv_jobs.catalog import prepare_data

def on_progress(done, total):
    if len(sys.argv) > 2 and done == 10:
        os.kill(os.getpid(), signal.SIGKILL)

prepare_data("class_folder", {"folder": sys.argv[1], "image_px": 8}, on_progress)
"""


@pytest.mark.slow
def test_two_processes_that_prepare_at_once_leave_one_good_result(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    command = [sys.executable, "-c", _PREPARE, str(tmp_path)]

    processes = [subprocess.Popen(command) for _ in range(2)]

    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert os.listdir(tmp_path / "prepared") == ["class_folder-v1-8px"]
    assert check_data("class_folder", _options(tmp_path), thorough=True) == []


@pytest.mark.slow
def test_a_killed_preparation_is_not_taken_for_prepared(tmp_path: Path) -> None:
    _two_classes(tmp_path)
    command = [sys.executable, "-c", _PREPARE, str(tmp_path), "die"]

    killed = subprocess.run(command, check=False, timeout=120)

    (problem,) = check_data("class_folder", _options(tmp_path))
    assert killed.returncode == -signal.SIGKILL
    assert "the data have not been prepared" in problem
    _prepare(tmp_path)
    assert check_data("class_folder", _options(tmp_path), thorough=True) == []


@pytest.mark.slow
def test_a_smoke_run_needs_nothing_but_synthetic_data_and_no_torch_before(tmp_path: Path) -> None:
    options = {"folder": str(tmp_path), **smoke_options("data", "class_folder")}
    code = (
        "import json, sys; from wconv_jobs.catalog import *; options = json.loads(sys.argv[1]); "
        "generate_data('class_folder', Path(options['folder'])); "
        "prepare_data('class_folder', options, lambda done, total: None); "
        "assert check_data('class_folder', options, thorough=True) == []; "
        "sample_shape('class_folder', options); "
        "sys.exit('torch' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code, json.dumps(options)], check=True, timeout=120)

    task = load_data("class_folder", seed=7, **options)
    assert task.epoch_samples == 4 * 22
    assert len(task.names("validation")) == 4 * 2
    assert len(task.names("test")) == 4 * 8
    assert task.train_batch(0, range(8))[0].shape == (8, 3, 32, 32)
    assert check_options("data", "class_folder", options) == []
    assert data_kind("class_folder") == "classification"


def test_synthetic_data_are_the_same_however_often_they_are_made(tmp_path: Path) -> None:
    for name in ("one", "other", "one"):
        generate_data("class_folder", tmp_path / name)

    contents = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files}
        for name in ("one", "other")
        if (files := [path for path in (tmp_path / name).rglob("*") if path.is_file()])
    ]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4 * 32
    assert len(set(contents[0].values())) == 4 * 32
