"""CIFAR-100: prepared once from either form, split the same for all trials, never downloaded."""

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

from tests.jobs.files.cifar_python_form import python_images, python_names
from wconv_jobs.catalog import (
    check_data,
    check_options,
    data_checksums,
    data_kind,
    generate_data,
    prepare_data,
    sample_shape,
    smoke_options,
)
from wconv_jobs.data import cifar100, load_data
from wconv_jobs.errors import JobError
from wconv_jobs.files.cifar import find, read

# Shape letters: B batch, C channels, H height, W width, N images.

FILES = ["test_images.npy", "test_labels.npy", "train_images.npy", "train_labels.npy"]


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar100")
    generate_data("cifar100", folder)
    prepare_data("cifar100", _options(folder), _silent)
    return folder


@pytest.fixture
def folder(prepared_once: Path, tmp_path: Path) -> Path:
    """Return a copy of prepared synthetic data, for a test to damage."""
    shutil.copytree(prepared_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def unprepared(folder: Path) -> Path:
    shutil.rmtree(folder / "prepared")
    return folder


def _silent(done: int, total: int) -> None:
    pass


def _options(folder: Path, **options: Any) -> dict[str, Any]:
    return {"folder": str(folder), **smoke_options("data", "cifar100"), **options}


def _not_prepared(folder: Path) -> str:
    return (
        f"{folder}/prepared/cifar100-v1: the data have not been prepared. Run "
        "`wconv-sweep data prepare --study STUDY` first."
    )


def _python_form(folder: Path) -> None:
    """Write the images of the binary form in the Python one."""
    images, _ = read(find(folder), verify=False)
    python = folder / "cifar-100-python"
    python.mkdir()
    for part, image_NCHW, label_N in (
        ("train", images.train_NCHW, images.train_class_N),
        ("test", images.test_NCHW, images.test_class_N),
    ):
        written = python_images(image_NCHW.reshape(-1, 3072), label_N.tolist(), part)
        (python / part).write_bytes(written)
    coarse = [f"group {number}" for number in range(20)]
    (python / "meta").write_bytes(python_names(images.class_names, coarse))


def test_the_parts_are_the_images_of_the_files(prepared_once: Path) -> None:
    images, _ = read(find(prepared_once), verify=False)

    task = load_data("cifar100", seed=7, **_options(prepared_once))

    ((image_BCHW, class_B),) = task.evaluation_batches("test", range(100))
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (cifar100.MEAN, cifar100.STD))
    expected = (images.test_NCHW / 255 - mean) / std
    assert image_BCHW.shape[1:] == sample_shape("cifar100", _options(prepared_once)) == (3, 32, 32)
    assert np.allclose(image_BCHW.numpy(), expected, atol=1e-6)
    assert class_B.tolist() == images.test_class_N.tolist()
    assert list(task.names("test")) == [f"test {number}" for number in range(100)]
    assert task.classes == 100


def test_no_image_is_both_trained_and_validated(prepared_once: Path) -> None:
    images, _ = read(find(prepared_once), verify=False)
    task = load_data("cifar100", seed=7, **_options(prepared_once, flip=False))

    trained_BCHW, _ = task.train_batch(0, range(200))
    ((validated_BCHW, class_B),) = task.evaluation_batches("validation", range(100))

    kept = [int(name.removeprefix("train ")) for name in task.names("validation")]
    everything = torch.cat([trained_BCHW, validated_BCHW]).flatten(1)
    assert task.epoch_samples == 200
    assert len(torch.unique(everything, dim=0)) == 300
    assert kept == sorted(kept)
    assert class_B.tolist() == images.train_class_N[kept].tolist()
    assert class_B.bincount().tolist() == [1] * 100


@pytest.mark.parametrize(
    ("validation_images", "of_each"), [(5000, {50}), (5003, {50, 51}), (99, {0, 1})]
)
def test_each_class_gives_equally_many_images_for_the_validation(
    validation_images: int, of_each: set[int]
) -> None:
    class_N = np.random.RandomState(0).permutation(np.arange(50_000) % 100)

    rest_N, kept_N = cifar100._split(class_N, validation_images, 0)

    assert set(np.bincount(class_N[kept_N], minlength=100).tolist()) == of_each
    assert len(kept_N) == validation_images
    assert sorted([*rest_N, *kept_N]) == list(range(50_000))


def test_a_part_of_the_data_set_with_uneven_classes_can_be_split() -> None:
    class_N = np.array([0, 0, 0, 0, 3, 3, 5])

    rest_N, kept_N = cifar100._split(class_N, 3, 0)

    # 4 * 3 / 7 = 1 rest 5, 2 * 3 / 7 = 0 rest 6, 1 * 3 / 7 = 0 rest 3: two more, for 3 and 0.
    assert np.bincount(class_N[kept_N], minlength=6).tolist() == [2, 0, 0, 1, 0, 0]
    assert len(rest_N) == 4


def test_the_split_depends_on_its_own_seed_alone(prepared_once: Path) -> None:
    def kept(seed: int, split_seed: int) -> list[str]:
        options = _options(prepared_once, split_seed=split_seed)
        return list(load_data("cifar100", seed=seed, **options).names("validation"))

    assert kept(1, 0) == kept(2, 0)
    assert kept(1, 0) != kept(1, 1)


def test_the_split_is_the_same_with_every_version() -> None:
    _, kept_N = cifar100._split(np.arange(1000) % 100, 100, 0)

    assert kept_N[:8].tolist() == [2, 20, 22, 33, 35, 36, 52, 66]


def test_flip_and_crop_are_options(prepared_once: Path) -> None:
    def batch(**options: Any) -> torch.Tensor:
        task = load_data("cifar100", seed=7, **_options(prepared_once, **options))
        return task.train_batch(0, range(200))[0]

    plain, flipped, cropped = batch(flip=False), batch(), batch(flip=False, pad_px=4)

    as_it_was = (flipped == plain).flatten(1).all(1)
    turned = (flipped == plain.flip(3)).flatten(1).all(1)
    assert torch.equal(as_it_was, ~turned)
    assert 70 < turned.sum() < 130
    # One crop in 81 lies where the image was; the border holds zeros.
    assert (cropped == plain).flatten(1).all(1).sum() < 20
    assert ((cropped == 0).sum((1, 2, 3)) >= 3 * 32).sum() > 150


def test_both_forms_give_the_same_prepared_data(unprepared: Path, tmp_path: Path) -> None:
    _python_form(unprepared)
    prepare_data("cifar100", _options(unprepared / "cifar-100-python"), _silent)

    prepare_data("cifar100", _options(unprepared / "cifar-100-binary"), _silent)

    one, other = (
        unprepared / f"cifar-100-{form}" / "prepared" / "cifar100-v1"
        for form in ("python", "binary")
    )
    indices = [json.loads((place / "index.json").read_text()) for place in (one, other)]
    assert sorted(os.listdir(one)) == ["index.json", *FILES]
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert indices[0]["class_names"] == indices[1]["class_names"]
    assert [index["form"] for index in indices] == ["python", "binary"]


def test_the_index_says_what_the_data_were_made_of(prepared_once: Path) -> None:
    index = json.loads((prepared_once / "prepared" / "cifar100-v1" / "index.json").read_text())

    train = prepared_once / "cifar-100-binary" / "train.bin"
    assert list(index["files"]) == ["train.bin", "test.bin", "fine_label_names.txt"]
    assert index["files"]["train.bin"]["bytes"] == train.stat().st_size
    assert len(index["files"]["train.bin"]["sha256"]) == 64
    assert index["class_names"][3] == "synthetic_03"
    assert index["verified"] is False
    assert sorted(index["sha256"]) == FILES


def test_progress_is_told_and_prepared_data_are_not_prepared_again(unprepared: Path) -> None:
    told: list[tuple[int, int]] = []

    for _ in range(2):
        prepare_data("cifar100", _options(unprepared), lambda *progress: told.append(progress))

    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_data_are_prepared_in_a_folder_of_their_own(unprepared: Path, tmp_path: Path) -> None:
    options = _options(unprepared, cache_folder=str(tmp_path / "scratch"))

    prepare_data("cifar100", options, _silent)

    assert os.listdir(tmp_path / "scratch") == ["cifar100-v1"]
    assert not (unprepared / "prepared").exists()
    assert check_data("cifar100", options) == []
    assert load_data("cifar100", seed=7, **options).epoch_samples == 200


@pytest.mark.parametrize("option", ["folder", "cache_folder"])
def test_relative_folders_are_refused(tmp_path: Path, option: str) -> None:
    options = _options(tmp_path) | {option: "data"}

    (problem,) = check_data("cifar100", options)

    assert problem.startswith("data: is relative, but jobs do not start in this folder. Write ")
    with pytest.raises(JobError, match="data: is relative"):
        load_data("cifar100", seed=7, **options)


def test_data_that_are_not_prepared_are_said_so(unprepared: Path) -> None:
    assert check_data("cifar100", _options(unprepared)) == [_not_prepared(unprepared)]
    with pytest.raises(JobError) as raised:
        load_data("cifar100", seed=7, **_options(unprepared))
    assert str(raised.value) == _not_prepared(unprepared)


def test_missing_files_are_said_before_they_are_prepared(tmp_path: Path) -> None:
    (problem,) = check_data("cifar100", _options(tmp_path))

    assert problem.startswith(f"{tmp_path}: holds neither cifar-100-python nor cifar-100-binary ")
    with pytest.raises(JobError, match="holds neither cifar-100-python nor"):
        prepare_data("cifar100", _options(tmp_path), _silent)


@pytest.mark.parametrize("thorough", [False, True])
def test_prepared_data_suffice(folder: Path, thorough: bool) -> None:
    shutil.rmtree(folder / "cifar-100-binary")

    assert check_data("cifar100", _options(folder), thorough=thorough) == []
    assert load_data("cifar100", seed=7, **_options(folder)).epoch_samples == 200
    prepare_data("cifar100", _options(folder), _silent)


def test_a_part_of_the_data_set_is_taken_only_without_verification(folder: Path) -> None:
    options = _options(folder, verify=True)
    prepared = folder / "prepared" / "cifar100-v1"

    assert check_data("cifar100", options) == [
        f"{prepared}: was prepared with verify: false. Delete it and prepare the data again, or "
        "set data.options.verify to false."
    ]
    for refusing in (
        lambda: load_data("cifar100", seed=7, **options),
        lambda: prepare_data("cifar100", options, _silent),
    ):
        with pytest.raises(JobError, match="was prepared with verify: false"):
            refusing()
    shutil.rmtree(prepared)
    with pytest.raises(JobError, match=r"train\.bin: has 922,200 bytes, but CIFAR-100's"):
        prepare_data("cifar100", options, _silent)
    assert not prepared.exists()


@pytest.mark.parametrize("key", ["class_names", "sha256", "verified"])
def test_an_index_that_lacks_a_key_is_named(folder: Path, key: str) -> None:
    prepared = folder / "prepared" / "cifar100-v1"
    index = json.loads((prepared / "index.json").read_text("utf-8"))
    del index[key]
    (prepared / "index.json").write_text(json.dumps(index), "utf-8")
    sentence = (
        f"{prepared}: its index cannot be read (it lacks {key}). Delete the folder and prepare "
        "the data again."
    )

    assert check_data("cifar100", _options(folder)) == [sentence]
    for reading in (
        lambda: load_data("cifar100", seed=7, **_options(folder)),
        lambda: prepare_data("cifar100", _options(folder), _silent),
        lambda: data_checksums("cifar100", _options(folder)),
    ):
        with pytest.raises(JobError) as raised:
            reading()
        assert str(raised.value) == sentence


def test_changed_prepared_data_are_found_by_a_thorough_check(folder: Path) -> None:
    path = folder / "prepared" / "cifar100-v1" / "test_images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert check_data("cifar100", _options(folder)) == []
    (problem,) = check_data("cifar100", _options(folder), thorough=True)
    assert problem.startswith(f"{path}: has changed since it was prepared. Delete {path.parent} ")


def test_cut_off_prepared_data_are_found_at_once(folder: Path) -> None:
    path = folder / "prepared" / "cifar100-v1" / "train_labels.npy"
    path.write_bytes(path.read_bytes()[:-1])

    (problem,) = check_data("cifar100", _options(folder))

    assert problem.startswith(f"{path}: cannot be read (")
    with pytest.raises(JobError, match=r"train_labels\.npy: cannot be read"):
        load_data("cifar100", seed=7, **_options(folder))


def test_a_thorough_check_looks_at_the_sources_of_prepared_data(folder: Path) -> None:
    (folder / "cifar-100-binary" / "fine_label_names.txt").unlink()

    assert check_data("cifar100", _options(folder)) == []
    (problem,) = check_data("cifar100", _options(folder), thorough=True)
    names = f"{folder}/cifar-100-binary/fine_label_names.txt"
    assert problem.startswith(f"{names}: cannot be read (No such file")


def test_more_validation_images_than_there_are_images_are_refused(folder: Path) -> None:
    options = _options(folder, validation_images=300)
    sentence = (
        "validation_images is 300, but there are 300 training images, of which some must be left. "
        "Lower data.options.validation_images."
    )

    assert check_data("cifar100", options) == [sentence]
    with pytest.raises(JobError, match="validation_images is 300, but"):
        load_data("cifar100", seed=7, **options)


_PREPARE = """
import os, signal, sys
from wconv_jobs.catalog import prepare_data

def on_progress(done, total):
    if len(sys.argv) > 2 and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

prepare_data("cifar100", {"folder": sys.argv[1], "verify": False}, on_progress)
"""


@pytest.mark.slow
def test_two_processes_that_prepare_at_once_leave_one_good_result(
    unprepared: Path, prepared_once: Path
) -> None:
    command = [sys.executable, "-c", _PREPARE, str(unprepared)]
    processes = [subprocess.Popen(command) for _ in range(2)]

    statuses = [process.wait(timeout=120) for process in processes]

    made = unprepared / "prepared" / "cifar100-v1"
    assert statuses == [0, 0]
    assert os.listdir(made.parent) == ["cifar100-v1"]
    for name in ["index.json", *FILES]:
        expected = prepared_once / "prepared" / "cifar100-v1" / name
        assert (made / name).read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_a_killed_preparation_is_not_taken_for_prepared(unprepared: Path) -> None:
    command = [sys.executable, "-c", _PREPARE, str(unprepared), "die"]

    killed = subprocess.run(command, check=False, timeout=120)

    assert killed.returncode == -signal.SIGKILL
    assert check_data("cifar100", _options(unprepared)) == [_not_prepared(unprepared)]
    prepare_data("cifar100", _options(unprepared), _silent)
    assert check_data("cifar100", _options(unprepared), thorough=True) == []


@pytest.mark.slow
def test_nothing_that_a_login_node_does_imports_torch(unprepared: Path) -> None:
    code = (
        "import sys; from wconv_jobs.catalog import *; "
        "options = {'folder': sys.argv[1], 'verify': False, 'validation_images': 100}; "
        "generate_data('cifar100', Path(sys.argv[1])); "
        "prepare_data('cifar100', options, print); "
        "assert check_data('cifar100', options, thorough=True) == []; "
        "sample_shape('cifar100', options); "
        "sys.exit('torch' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code, str(unprepared)], check=True, timeout=120)


@pytest.mark.slow
def test_synthetic_data_are_the_same_whoever_makes_them(
    prepared_once: Path, tmp_path: Path
) -> None:
    synthetic = "import sys; from wconv_jobs.catalog import *; "
    synthetic += "generate_data('cifar100', Path(sys.argv[1]))"
    command = [sys.executable, "-c", synthetic, str(tmp_path / "new" / "folder")]

    processes = [subprocess.Popen(command) for _ in range(2)]

    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    made = tmp_path / "new" / "folder" / "cifar-100-binary"
    files = ["fine_label_names.txt", "test.bin", "train.bin"]
    assert sorted(os.listdir(made)) == files
    for name in files:
        expected = prepared_once / "cifar-100-binary" / name
        assert (made / name).read_bytes() == expected.read_bytes()


def test_synthetic_classes_can_be_told_apart(prepared_once: Path) -> None:
    images, _ = read(find(prepared_once), verify=False)
    color_NC = images.train_NCHW.mean((2, 3))

    nearest = [
        images.train_class_N[np.square(color_NC - color_C).sum(1).argmin()]
        for color_C in images.test_NCHW.mean((2, 3))
    ]

    assert len(images.train_class_N) == 300
    assert np.bincount(images.test_class_N).tolist() == [1] * 100
    assert np.mean(nearest == images.test_class_N) > 0.9


def test_the_options_of_a_smoke_run_are_options(tmp_path: Path) -> None:
    assert check_options("data", "cifar100", _options(tmp_path)) == []
    assert data_kind("cifar100") == "classification"
