"""DIV2K: listed, prepared once whatever happens, and trained from the prepared pixels."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wconv_jobs.catalog import (
    check_data,
    default_of,
    generate_data,
    prepare_data,
    sample_shape,
    smoke_options,
)
from wconv_jobs.data import div2k, load_data
from wconv_jobs.errors import JobError
from wconv_jobs.files import prepared_pictures
from wconv_jobs.files.images import decode


def _options(folder: Path, **more: object) -> dict[str, Any]:
    return {**smoke_options("data", "div2k"), "folder": str(folder), **more}


def _prepare(folder: Path, **more: object) -> list[tuple[int, int]]:
    progress: list[tuple[int, int]] = []
    prepare_data("div2k", _options(folder, **more), lambda *done: progress.append(done))
    return progress


def _refusal(folder: Path, **more: object) -> str:
    with pytest.raises(JobError) as caught:
        _prepare(folder, **more)
    return str(caught.value)


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    generate_data("div2k", tmp_path)
    return tmp_path


def _whole(folder: Path) -> None:
    """Make a data set of 900 black images."""
    for name, files in div2k.WHOLE.items():
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (16, 12)).save(folder / "black.png")
        for file in files:
            os.link(folder / "black.png", folder / name / file)


@pytest.mark.slow
def test_the_papers_split_is_750_50_and_100(tmp_path: Path) -> None:
    _whole(tmp_path)
    options: dict[str, Any] = {"folder": str(tmp_path), "crop_px": 12}

    prepare_data("div2k", options, lambda done, of: None)
    task = load_data("div2k", seed=0, **options)

    validation, test = task.names("validation"), task.names("test")
    assert check_data("div2k", options) == []
    assert task.epoch_samples == 12_000 == 16 * 750
    assert (len(validation), validation[0], validation[-1]) == (50, "0751.png", "0800.png")
    assert (len(test), test[0], test[-1]) == (100, "0801.png", "0900.png")


def test_prepared_pixels_are_those_of_the_files(made_up: Path) -> None:
    _prepare(made_up)

    paths = sorted(made_up.glob("DIV2K_*/*.png"))
    expected = b"".join(decode(path).tobytes() for path in paths)
    assert np.load(made_up / "prepared/div2k-v1/pixels.npy").tobytes() == expected
    task = load_data("div2k", seed=0, **_options(made_up))
    for path, (_, target_BCHW) in zip(
        paths[-2:], task.evaluation_batches("test", range(2)), strict=True
    ):
        levels_HWC = (target_BCHW[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        assert np.array_equal(levels_HWC.numpy(), decode(path))


def test_prepared_data_suffice_when_the_files_are_gone(made_up: Path) -> None:
    _prepare(made_up)
    for name in div2k.WHOLE:
        shutil.rmtree(made_up / name)

    assert _prepare(made_up) == []
    assert check_data("div2k", _options(made_up), thorough=True) == []
    task = load_data("div2k", seed=0, **_options(made_up))

    noisy_BCHW, _ = task.train_batch(0, range(16))
    assert noisy_BCHW.shape == (16, *sample_shape("div2k", _options(made_up)))
    assert task.names("validation") == ["0005.png", "0006.png"]


def test_data_that_have_not_been_prepared_are_refused_with_the_command(made_up: Path) -> None:
    sentence = (
        f"{made_up}/prepared/div2k-v1: the data have not been prepared. Run "
        "`wconv-sweep data prepare --study STUDY` first."
    )

    assert check_data("div2k", _options(made_up)) == [sentence]
    with pytest.raises(JobError) as caught:
        load_data("div2k", seed=0, **_options(made_up))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ([], "it is not a JSON object"),
        ({}, "it lacks pictures, sha256"),
        ({"pictures": [{"file": "0001.png"}], "sha256": {}}, "its picture list is invalid"),
    ],
)
def test_an_index_of_something_else_is_refused(made_up: Path, index: object, reason: str) -> None:
    _prepare(made_up)
    prepared = made_up / "prepared" / "div2k-v1"
    (prepared / "index.json").write_text(json.dumps(index))

    (problem,) = check_data("div2k", _options(made_up))

    assert problem == (
        f"{prepared}: its index cannot be read ({reason}). Delete the folder and prepare the data "
        "again."
    )


def test_the_index_tells_size_and_sum_of_each_file(made_up: Path) -> None:
    _prepare(made_up)

    index = json.loads((made_up / "prepared/div2k-v1/index.json").read_text())

    height_px, width_px, _ = decode(made_up / "DIV2K_valid_HR/0801.png").shape
    file = (made_up / "DIV2K_valid_HR/0801.png").read_bytes()
    sums = subprocess.run(["sha256sum"], input=file, capture_output=True, check=True).stdout
    assert index["pictures"][6] == {
        "file": "DIV2K_valid_HR/0801.png",
        "height_px": height_px,
        "width_px": width_px,
        "file_bytes": len(file),
        "sha256": sums.decode().split()[0],
    }


def test_the_prepared_data_go_where_the_user_says(made_up: Path) -> None:
    options = _options(made_up, cache_folder=str(made_up / "scratch"))

    _prepare(made_up, cache_folder=str(made_up / "scratch"))

    assert not (made_up / "prepared").exists()
    assert (made_up / "scratch/div2k-v1/index.json").exists()
    assert check_data("div2k", options) == []
    assert load_data("div2k", seed=0, **options).epoch_samples == 16


@pytest.mark.parametrize("option", ["folder", "cache_folder"])
def test_a_relative_folder_is_refused(made_up: Path, option: str) -> None:
    (problem,) = check_data("div2k", _options(made_up) | {option: "somewhere"})

    assert problem.startswith("somewhere: is relative, but jobs do not start in this folder.")


def test_preparing_tells_its_progress_and_does_nothing_the_second_time(made_up: Path) -> None:
    first = _prepare(made_up)
    before = (made_up / "prepared/div2k-v1/pixels.npy").stat()

    second = _prepare(made_up)

    assert first == [(done, 8) for done in range(1, 9)]
    assert second == []
    assert (made_up / "prepared/div2k-v1/pixels.npy").stat() == before


_PROCESS = """
import sys
from wconv_jobs.catalog import prepare_data, smoke_options

def on_progress(done, of):
    print(done, flush=True)
    sys.stdin.readline()

options = smoke_options("data", "div2k") | {"folder": sys.argv[1]}
prepare_data("div2k", options, on_progress)
"""


def _preparing(folder: Path) -> subprocess.Popen[str]:
    """Start a process that waits for a line before each image."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_that_prepare_at_once_leave_one_good_copy(made_up: Path) -> None:
    processes = [_preparing(made_up) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"  # both are in the middle of it

    errors = [process.communicate("\n" * 10, timeout=60)[1] for process in processes]

    assert errors == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert [path.name for path in (made_up / "prepared").iterdir()] == ["div2k-v1"]
    assert check_data("div2k", _options(made_up), thorough=True) == []


@pytest.mark.slow
def test_a_process_killed_while_preparing_leaves_nothing_that_is_taken_for_prepared(
    made_up: Path,
) -> None:
    with _preparing(made_up) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)

    (problem,) = check_data("div2k", _options(made_up))
    assert "the data have not been prepared" in problem
    _prepare(made_up)
    assert check_data("div2k", _options(made_up), thorough=True) == []


def test_files_that_changed_since_are_named_and_not_trained_by_mistake(made_up: Path) -> None:
    _prepare(made_up)
    Image.new("RGB", (100, 100)).save(made_up / "DIV2K_train_HR/0002.png")
    (made_up / "DIV2K_train_HR/0003.png").unlink()
    sentence = (
        f"{made_up}/prepared/div2k-v1: was prepared from other files, see DIV2K_train_HR/0002.png "
        f"and 1 more. Restore those, or delete {made_up}/prepared/div2k-v1 and prepare the data "
        "again."
    )

    assert check_data("div2k", _options(made_up)) == [sentence]
    assert _refusal(made_up) == sentence


def test_the_thorough_check_finds_a_file_with_other_bytes_of_the_same_number(
    made_up: Path,
) -> None:
    _prepare(made_up)
    path = made_up / "DIV2K_train_HR/0004.png"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")

    assert check_data("div2k", _options(made_up)) == []
    (problem,) = check_data("div2k", _options(made_up), thorough=True)
    assert "was prepared from other files, see DIV2K_train_HR/0004.png. Restore" in problem


def test_files_that_cannot_be_read_are_named(
    made_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepare(made_up)
    original = prepared_pictures._sha256

    def denied(path: Path) -> str:  # not by permissions, which do not bind root
        if path.name == "0801.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(prepared_pictures, "_sha256", denied)

    assert check_data("div2k", _options(made_up), thorough=True) == [
        f"{made_up}/DIV2K_valid_HR/0801.png: cannot be read (Permission denied). Make it "
        f"readable, or move {made_up} away: the prepared data suffice."
    ]


def test_the_thorough_check_finds_prepared_pixels_that_are_damaged(made_up: Path) -> None:
    _prepare(made_up)
    pixels = made_up / "prepared/div2k-v1/pixels.npy"
    with pixels.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))

    assert check_data("div2k", _options(made_up)) == []
    (problem,) = check_data("div2k", _options(made_up), thorough=True)
    assert problem.startswith(f"{pixels}: has changed since it was prepared. Delete")


@pytest.mark.parametrize("thorough", [False, True])
def test_prepared_pixels_that_are_cut_off_are_named(made_up: Path, thorough: bool) -> None:
    _prepare(made_up)
    pixels = made_up / "prepared/div2k-v1/pixels.npy"
    pixels.write_bytes(pixels.read_bytes()[:-1])

    (problem,) = check_data("div2k", _options(made_up), thorough=thorough)

    assert problem.startswith(f"{pixels}: cannot be read")
    with pytest.raises(JobError, match=r"pixels\.npy: cannot be read .* prepare the data again"):
        load_data("div2k", seed=0, **_options(made_up))


def test_pixels_are_mapped_and_not_read_into_memory(made_up: Path) -> None:
    _prepare(made_up)
    task = load_data("div2k", seed=0, **_options(made_up))
    pixels = made_up / "prepared/div2k-v1/pixels.npy"

    with pixels.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")

    *_, (_, target_BCHW) = task.evaluation_batches("test", range(2))
    assert target_BCHW[0, 2, -1, -1].item() == pytest.approx(7 / 255)


def test_every_damaged_file_is_named_and_nothing_is_prepared(made_up: Path) -> None:
    for name in ("0001.png", "0003.png"):
        path = made_up / "DIV2K_train_HR" / name
        path.write_bytes(path.read_bytes()[:2000])

    problems = _refusal(made_up).splitlines()

    assert [problem.split(": cannot be decoded")[0] for problem in problems] == [
        f"{made_up}/DIV2K_train_HR/0001.png",
        f"{made_up}/DIV2K_train_HR/0003.png",
    ]
    assert list((made_up / "prepared").iterdir()) == []
    assert check_data("div2k", _options(made_up), thorough=True)[:-1] == problems


def test_files_that_the_header_gives_away_are_named_before_anything_is_written(
    made_up: Path,
) -> None:
    (made_up / "DIV2K_train_HR/0001.png").write_text("no image")
    Image.fromarray(np.full((99, 99), 1000, np.uint16)).save(made_up / "DIV2K_valid_HR/0801.png")

    problems = _refusal(made_up).splitlines()

    assert problems[0].startswith(f"{made_up}/DIV2K_train_HR/0001.png: is not an image")
    assert problems[1].startswith(f"{made_up}/DIV2K_valid_HR/0801.png: has more than 8 bits")
    assert len(problems) == 2
    assert not (made_up / "prepared").exists()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_gray_palette_and_transparent_images_become_rgb(made_up: Path, mode: str) -> None:
    Image.new("RGB", (70, 64), (255, 255, 255)).convert(mode).save(
        made_up / "DIV2K_valid_HR/0801.png"
    )

    _prepare(made_up)

    task = load_data("div2k", seed=0, **_options(made_up))
    ((_, target_BCHW),) = task.evaluation_batches("test", range(1))
    assert target_BCHW.shape == (1, 3, 64, 70)
    assert target_BCHW.min() == 1


def test_images_that_are_too_small_are_named(made_up: Path) -> None:
    Image.new("RGB", (63, 64)).save(made_up / "DIV2K_train_HR/0002.png")
    Image.new("RGB", (11, 10)).save(made_up / "DIV2K_train_HR/0005.png")
    Image.new("RGB", (11, 11)).save(made_up / "DIV2K_valid_HR/0801.png")
    _prepare(made_up)

    assert check_data("div2k", _options(made_up)) == [
        "DIV2K_train_HR/0002.png: is 63 x 64 pixels, smaller than the crops of 64 x 64. Lower "
        "crop_px or remove this image.",
        "DIV2K_train_HR/0005.png: is 11 x 10 pixels, too small to be scored, which takes 11 x 11. "
        "Remove this image.",
    ]
    with pytest.raises(JobError, match=r"^0002\.png: is 63 x 64 pixels, smaller than the crops"):
        load_data("div2k", seed=0, **_options(made_up))


def test_missing_folders_are_named_with_the_file_to_unpack(tmp_path: Path) -> None:
    options = {"folder": str(tmp_path)}

    assert check_data("div2k", options) == [
        f"{tmp_path}/DIV2K_train_HR: cannot be used (No such file or directory). Unpack "
        "DIV2K_train_HR.zip of https://data.vision.ee.ethz.ch/cvl/DIV2K/ in "
        f"{tmp_path}, or choose another folder with data.options.folder."
    ]
    (tmp_path / "DIV2K_train_HR").mkdir()
    (problem,) = check_data("div2k", options)
    assert "DIV2K_train_HR: cannot be used (it holds no .png files)" in problem


def test_a_part_of_the_data_set_is_refused_unless_it_is_asked_for(made_up: Path) -> None:
    (problem,) = check_data("div2k", {"folder": str(made_up)})

    assert problem.startswith(f"{made_up}: lacks DIV2K_train_HR/0007.png and 891 more.")
    assert "verify: false" in problem
    _prepare(made_up)
    with pytest.raises(JobError, match=r"prepared/div2k-v1: lacks .* and 891 more"):
        load_data("div2k", seed=0, folder=str(made_up))


def test_images_that_are_not_of_div2k_are_named(tmp_path: Path) -> None:
    _whole(tmp_path)
    (tmp_path / "DIV2K_valid_HR/0801x2.png").touch()

    assert check_data("div2k", {"folder": str(tmp_path)}) == [
        f"{tmp_path}: has DIV2K_valid_HR/0801x2.png, not of DIV2K. Move it out of there."
    ]


def test_notes_and_hidden_files_are_left_alone(made_up: Path) -> None:
    (made_up / "DIV2K_train_HR/README.txt").touch()
    (made_up / "DIV2K_train_HR/._0001.png").touch()

    assert _prepare(made_up)[-1] == (8, 8)


@pytest.mark.parametrize("validation_images", [6, 7])
def test_more_images_for_validation_than_there_are_is_refused(
    made_up: Path, validation_images: int
) -> None:
    _prepare(made_up)
    options = _options(made_up, validation_images=validation_images)

    (problem,) = check_data("div2k", options)

    assert problem.endswith(
        f"holds 6 image(s) of DIV2K_train_HR, of which validation_images: {validation_images} "
        "leaves none for training. Lower validation_images."
    )
    with pytest.raises(JobError, match="Lower validation_images"):
        load_data("div2k", seed=0, **options)


def test_too_little_space_is_told_before_anything_is_written(
    made_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wconv_jobs.files.prepared.shutil.disk_usage", lambda _: SimpleNamespace(free=1000)
    )

    message = _refusal(made_up)

    assert message.startswith(f"{made_up}/prepared: has 0.0 GB free")
    assert message.endswith("choose another folder with data.options.cache_folder.")


def test_a_disk_or_quota_that_is_full_halfway_is_an_error_and_leaves_nothing(
    made_up: Path,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = _refusal(made_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert message.startswith(f"{made_up}/prepared/div2k-v1: cannot be written (File too large).")
    assert list((made_up / "prepared").iterdir()) == []


def test_the_options_of_noise_reach_the_task(made_up: Path) -> None:
    _prepare(made_up)
    options = _options(made_up, noise_sigma=100.0)

    fresh, fixed, clipped, flipped = (
        load_data("div2k", seed=0, **options, **more).train_batch(0, range(8))
        for more in ({}, {"noise": "fixed"}, {"clip": True}, {"flips": True})
    )

    assert torch.equal(fixed[1], fresh[1])
    assert not torch.equal(fixed[0], fresh[0])
    assert torch.equal(clipped[0], fresh[0].clamp(0, 1))
    assert not torch.equal(flipped[1], fresh[1])


def test_the_shape_of_a_sample_follows_the_default_of_load() -> None:
    assert sample_shape("div2k", {"folder": "/nowhere"}) == (3, 128, 128)
    assert default_of("data", "div2k", "crop_px") == 128
    assert default_of("data", "div2k", "validation_images") == 50


@pytest.mark.slow
def test_checking_and_preparing_do_not_import_torch(made_up: Path) -> None:
    code = (
        "import sys; from wconv_jobs.catalog import *; "
        f"options = smoke_options('data', 'div2k') | {{'folder': {str(made_up)!r}}}; "
        "prepare_data('div2k', options, lambda done, of: None); "
        "assert check_data('div2k', options, thorough=True) == []; "
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
