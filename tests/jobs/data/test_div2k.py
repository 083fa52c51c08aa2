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


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("div2k")
    generate_data("div2k", folder)
    return folder


@pytest.fixture
def synthetic(generated: Path, tmp_path: Path) -> Path:
    shutil.copytree(generated, tmp_path, dirs_exist_ok=True)
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


def test_prepared_pixels_are_those_of_the_files(synthetic: Path) -> None:
    _prepare(synthetic)

    paths = sorted(synthetic.glob("DIV2K_*/*.png"))
    expected = b"".join(decode(path).tobytes() for path in paths)
    assert np.load(synthetic / "prepared/div2k-v1/pixels.npy").tobytes() == expected
    task = load_data("div2k", seed=0, **_options(synthetic))
    for path, (_, target_BCHW) in zip(
        paths[-2:], task.evaluation_batches("test", range(2)), strict=True
    ):
        levels_HWC = (target_BCHW[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        assert np.array_equal(levels_HWC.numpy(), decode(path))


def test_prepared_data_suffice_when_the_files_are_gone(synthetic: Path) -> None:
    _prepare(synthetic)
    for name in div2k.WHOLE:
        shutil.rmtree(synthetic / name)

    assert _prepare(synthetic) == []
    assert check_data("div2k", _options(synthetic), thorough=True) == []
    task = load_data("div2k", seed=0, **_options(synthetic))

    noisy_BCHW, _ = task.train_batch(0, range(16))
    assert noisy_BCHW.shape == (16, *sample_shape("div2k", _options(synthetic)))
    assert task.names("validation") == ["0005.png", "0006.png"]


def test_data_that_have_not_been_prepared_are_refused_with_the_command(synthetic: Path) -> None:
    sentence = (
        f"{synthetic}/prepared/div2k-v1: the data have not been prepared. Run "
        "`wconv-sweep data prepare --study STUDY` first."
    )

    assert check_data("div2k", _options(synthetic)) == [sentence]
    with pytest.raises(JobError) as caught:
        load_data("div2k", seed=0, **_options(synthetic))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ([], "it is not a JSON object"),
        ({}, "it lacks pictures, sha256"),
        ({"pictures": [{"file": "0001.png"}], "sha256": {}}, "its picture list is invalid"),
    ],
)
def test_an_index_of_something_else_is_refused(
    synthetic: Path, index: object, reason: str
) -> None:
    _prepare(synthetic)
    prepared = synthetic / "prepared" / "div2k-v1"
    (prepared / "index.json").write_text(json.dumps(index))

    (problem,) = check_data("div2k", _options(synthetic))

    assert problem == (
        f"{prepared}: its index cannot be read ({reason}). Delete the folder and prepare the data "
        "again."
    )


def test_the_index_tells_size_and_sum_of_each_file(synthetic: Path) -> None:
    _prepare(synthetic)

    index = json.loads((synthetic / "prepared/div2k-v1/index.json").read_text())

    height_px, width_px, _ = decode(synthetic / "DIV2K_valid_HR/0801.png").shape
    file = (synthetic / "DIV2K_valid_HR/0801.png").read_bytes()
    sums = subprocess.run(["sha256sum"], input=file, capture_output=True, check=True).stdout
    assert index["pictures"][6] == {
        "file": "DIV2K_valid_HR/0801.png",
        "height_px": height_px,
        "width_px": width_px,
        "file_bytes": len(file),
        "sha256": sums.decode().split()[0],
    }


def test_the_prepared_data_go_where_the_user_says(synthetic: Path) -> None:
    options = _options(synthetic, cache_folder=str(synthetic / "scratch"))

    _prepare(synthetic, cache_folder=str(synthetic / "scratch"))

    assert not (synthetic / "prepared").exists()
    assert (synthetic / "scratch/div2k-v1/index.json").exists()
    assert check_data("div2k", options) == []
    assert load_data("div2k", seed=0, **options).epoch_samples == 16


@pytest.mark.parametrize("option", ["folder", "cache_folder"])
def test_a_relative_folder_is_refused(synthetic: Path, option: str) -> None:
    (problem,) = check_data("div2k", _options(synthetic) | {option: "somewhere"})

    assert problem.startswith("somewhere: is relative, but jobs do not start in this folder.")


def test_preparing_tells_its_progress_and_does_nothing_the_second_time(synthetic: Path) -> None:
    first = _prepare(synthetic)
    before = (synthetic / "prepared/div2k-v1/pixels.npy").stat()

    second = _prepare(synthetic)

    assert first == [(done, 8) for done in range(1, 9)]
    assert second == []
    assert (synthetic / "prepared/div2k-v1/pixels.npy").stat() == before


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
def test_two_processes_that_prepare_at_once_leave_one_good_copy(synthetic: Path) -> None:
    processes = [_preparing(synthetic) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"  # both are in the middle of it

    errors = [process.communicate("\n" * 10, timeout=60)[1] for process in processes]

    assert errors == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert [path.name for path in (synthetic / "prepared").iterdir()] == ["div2k-v1"]
    assert check_data("div2k", _options(synthetic), thorough=True) == []


@pytest.mark.slow
def test_a_process_killed_while_preparing_leaves_nothing_that_is_taken_for_prepared(
    synthetic: Path,
) -> None:
    with _preparing(synthetic) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)

    (problem,) = check_data("div2k", _options(synthetic))
    assert "the data have not been prepared" in problem
    _prepare(synthetic)
    assert check_data("div2k", _options(synthetic), thorough=True) == []


def test_files_that_changed_since_are_named_and_not_trained_by_mistake(synthetic: Path) -> None:
    _prepare(synthetic)
    Image.new("RGB", (100, 100)).save(synthetic / "DIV2K_train_HR/0002.png")
    (synthetic / "DIV2K_train_HR/0003.png").unlink()
    sentence = (
        f"{synthetic}/prepared/div2k-v1: was prepared from other files, see "
        f"DIV2K_train_HR/0002.png and 1 more. Restore those, or delete "
        f"{synthetic}/prepared/div2k-v1 and prepare the data again."
    )

    assert check_data("div2k", _options(synthetic)) == [sentence]
    assert _refusal(synthetic) == sentence


def test_the_thorough_check_finds_a_file_with_other_bytes_of_the_same_number(
    synthetic: Path,
) -> None:
    _prepare(synthetic)
    path = synthetic / "DIV2K_train_HR/0004.png"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")

    assert check_data("div2k", _options(synthetic)) == []
    (problem,) = check_data("div2k", _options(synthetic), thorough=True)
    assert "was prepared from other files, see DIV2K_train_HR/0004.png. Restore" in problem


def test_files_that_cannot_be_read_are_named(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepare(synthetic)
    original = prepared_pictures._sha256

    def denied(path: Path) -> str:  # not by permissions, which do not bind root
        if path.name == "0801.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(prepared_pictures, "_sha256", denied)

    assert check_data("div2k", _options(synthetic), thorough=True) == [
        f"{synthetic}/DIV2K_valid_HR/0801.png: cannot be read (Permission denied). Make it "
        f"readable, or move {synthetic} away: the prepared data suffice."
    ]


def test_the_thorough_check_finds_prepared_pixels_that_are_damaged(synthetic: Path) -> None:
    _prepare(synthetic)
    pixels = synthetic / "prepared/div2k-v1/pixels.npy"
    with pixels.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))

    assert check_data("div2k", _options(synthetic)) == []
    (problem,) = check_data("div2k", _options(synthetic), thorough=True)
    assert problem.startswith(f"{pixels}: has changed since it was prepared. Delete")


@pytest.mark.parametrize("thorough", [False, True])
def test_prepared_pixels_that_are_cut_off_are_named(synthetic: Path, thorough: bool) -> None:
    _prepare(synthetic)
    pixels = synthetic / "prepared/div2k-v1/pixels.npy"
    pixels.write_bytes(pixels.read_bytes()[:-1])

    (problem,) = check_data("div2k", _options(synthetic), thorough=thorough)

    assert problem.startswith(f"{pixels}: cannot be read")
    with pytest.raises(JobError, match=r"pixels\.npy: cannot be read .* prepare the data again"):
        load_data("div2k", seed=0, **_options(synthetic))


def test_pixels_are_mapped_and_not_read_into_memory(synthetic: Path) -> None:
    _prepare(synthetic)
    task = load_data("div2k", seed=0, **_options(synthetic))
    pixels = synthetic / "prepared/div2k-v1/pixels.npy"

    with pixels.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")

    *_, (_, target_BCHW) = task.evaluation_batches("test", range(2))
    assert target_BCHW[0, 2, -1, -1].item() == pytest.approx(7 / 255)


def test_every_damaged_file_is_named_and_nothing_is_prepared(synthetic: Path) -> None:
    for name in ("0001.png", "0003.png"):
        path = synthetic / "DIV2K_train_HR" / name
        path.write_bytes(path.read_bytes()[:2000])

    problems = _refusal(synthetic).splitlines()

    assert [problem.split(": cannot be decoded")[0] for problem in problems] == [
        f"{synthetic}/DIV2K_train_HR/0001.png",
        f"{synthetic}/DIV2K_train_HR/0003.png",
    ]
    assert list((synthetic / "prepared").iterdir()) == []
    assert check_data("div2k", _options(synthetic), thorough=True)[:-1] == problems


def test_files_that_the_header_gives_away_are_named_before_anything_is_written(
    synthetic: Path,
) -> None:
    (synthetic / "DIV2K_train_HR/0001.png").write_text("no image")
    Image.fromarray(np.full((99, 99), 1000, np.uint16)).save(synthetic / "DIV2K_valid_HR/0801.png")

    problems = _refusal(synthetic).splitlines()

    assert problems[0].startswith(f"{synthetic}/DIV2K_train_HR/0001.png: is not an image")
    assert problems[1].startswith(f"{synthetic}/DIV2K_valid_HR/0801.png: has more than 8 bits")
    assert len(problems) == 2
    assert not (synthetic / "prepared").exists()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_gray_palette_and_transparent_images_become_rgb(synthetic: Path, mode: str) -> None:
    Image.new("RGB", (70, 64), (255, 255, 255)).convert(mode).save(
        synthetic / "DIV2K_valid_HR/0801.png"
    )

    _prepare(synthetic)

    task = load_data("div2k", seed=0, **_options(synthetic))
    ((_, target_BCHW),) = task.evaluation_batches("test", range(1))
    assert target_BCHW.shape == (1, 3, 64, 70)
    assert target_BCHW.min() == 1


def test_images_that_are_too_small_are_named(synthetic: Path) -> None:
    Image.new("RGB", (63, 64)).save(synthetic / "DIV2K_train_HR/0002.png")
    Image.new("RGB", (11, 10)).save(synthetic / "DIV2K_train_HR/0005.png")
    Image.new("RGB", (11, 11)).save(synthetic / "DIV2K_valid_HR/0801.png")
    _prepare(synthetic)

    assert check_data("div2k", _options(synthetic)) == [
        "DIV2K_train_HR/0002.png: is 63 x 64 pixels, smaller than the crops of 64 x 64. Lower "
        "crop_px or remove this image.",
        "DIV2K_train_HR/0005.png: is 11 x 10 pixels, too small to be scored, which takes 11 x 11. "
        "Remove this image.",
    ]
    with pytest.raises(JobError, match=r"^0002\.png: is 63 x 64 pixels, smaller than the crops"):
        load_data("div2k", seed=0, **_options(synthetic))


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


def test_a_part_of_the_data_set_is_refused_unless_it_is_asked_for(synthetic: Path) -> None:
    (problem,) = check_data("div2k", {"folder": str(synthetic)})

    assert problem.startswith(f"{synthetic}: lacks DIV2K_train_HR/0007.png and 891 more.")
    assert "verify: false" in problem
    _prepare(synthetic)
    with pytest.raises(JobError, match=r"prepared/div2k-v1: lacks .* and 891 more"):
        load_data("div2k", seed=0, folder=str(synthetic))


def test_images_that_are_not_of_div2k_are_named(tmp_path: Path) -> None:
    _whole(tmp_path)
    (tmp_path / "DIV2K_valid_HR/0801x2.png").touch()

    assert check_data("div2k", {"folder": str(tmp_path)}) == [
        f"{tmp_path}: has DIV2K_valid_HR/0801x2.png, not of DIV2K. Move it out of there."
    ]


def test_notes_and_hidden_files_are_left_alone(synthetic: Path) -> None:
    (synthetic / "DIV2K_train_HR/README.txt").touch()
    (synthetic / "DIV2K_train_HR/._0001.png").touch()

    assert _prepare(synthetic)[-1] == (8, 8)


@pytest.mark.parametrize("validation_images", [6, 7])
def test_more_images_for_validation_than_there_are_is_refused(
    synthetic: Path, validation_images: int
) -> None:
    _prepare(synthetic)
    options = _options(synthetic, validation_images=validation_images)

    (problem,) = check_data("div2k", options)

    assert problem.endswith(
        f"holds 6 image(s) of DIV2K_train_HR, of which validation_images: {validation_images} "
        "leaves none for training. Lower validation_images."
    )
    with pytest.raises(JobError, match="Lower validation_images"):
        load_data("div2k", seed=0, **options)


def test_too_little_space_is_told_before_anything_is_written(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wconv_jobs.files.prepared.shutil.disk_usage", lambda _: SimpleNamespace(free=1000)
    )

    message = _refusal(synthetic)

    assert message.startswith(f"{synthetic}/prepared: has 0.0 GB free")
    assert message.endswith("choose another folder with data.options.cache_folder.")


def test_a_disk_or_quota_that_is_full_halfway_is_an_error_and_leaves_nothing(
    synthetic: Path,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = _refusal(synthetic)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert message.startswith(
        f"{synthetic}/prepared/div2k-v1: cannot be written (File too large)."
    )
    assert list((synthetic / "prepared").iterdir()) == []


def test_the_options_of_noise_reach_the_task(synthetic: Path) -> None:
    _prepare(synthetic)
    options = _options(synthetic, noise_sigma=100.0)

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
def test_checking_and_preparing_do_not_import_torch(synthetic: Path) -> None:
    code = (
        "import sys; from wconv_jobs.catalog import *; "
        f"options = smoke_options('data', 'div2k') | {{'folder': {str(synthetic)!r}}}; "
        "prepare_data('div2k', options, lambda done, of: None); "
        "assert check_data('div2k', options, thorough=True) == []; "
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
