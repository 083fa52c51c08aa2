"""Test images before and after a network: its output, the scores of the test, one file each."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tests.jobs import rank_doubles
from tests.jobs.trials import Recorder, classification, denoising
from wconv_jobs import trained
from wconv_jobs.before_after import BeforeAfter
from wconv_jobs.errors import JobError
from wconv_jobs.restoration import restored
from wconv_jobs.task import Part
from wconv_jobs.training import train
from wconv_jobs.trial_files import IMAGE_PX, IMAGES, write_images


def image(height: int, width: int, channels: int, value: int = 0) -> NDArray[np.uint8]:
    return np.full((height, width, channels), value, np.uint8)


def shown(channels: int = 3) -> BeforeAfter:
    return BeforeAfter(
        "näme", 20.25, 31.5, *(image(5, 4, channels, value) for value in (10, 20, 30))
    )


class GreyPictures:
    """A task with three pictures of 4 x 6 pixels, all of the grey level 0.5, with 0.1 added."""

    epoch_samples = 3
    metrics: tuple[str, ...] = ("psnr_db",)
    classes: int | None = None
    input_is_estimate = True

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def names(self, part: Part) -> list[str]:
        return ["a", "b", "c"]

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        assert part == "test"
        target_BCHW = torch.full((len(items), self.channels, 4, 6), 0.5)
        yield target_BCHW + 0.1, target_BCHW

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        raise NotImplementedError


class Halved(nn.Module):
    """Halves its input, and looks as if it could be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, input_BCHW: Tensor) -> Tensor:
        return input_BCHW * self.factor


def test_pixels_and_scores_are_those_of_a_count_by_hand() -> None:
    first, second = restored(Halved(), GreyPictures(), images=2)

    assert (first.name, second.name) == ("a", "b")
    # Input 0.6: an error of 0.1, 20 dB. Output 0.3: an error of 0.2, 20 - 20 log10(2) dB.
    assert first.input_psnr_db == pytest.approx(20.0, abs=1e-4)
    assert first.output_psnr_db == pytest.approx(13.9794, abs=1e-4)
    pixels = [first.input_HWC, first.output_HWC, first.target_HWC]
    assert [each.shape for each in pixels] == [(4, 6, 1)] * 3
    assert [set(each.flat) for each in pixels] == [{153}, {76}, {128}]  # 255 * (0.6, 0.3, 0.5)


def test_images_that_are_neither_grey_nor_rgb_are_left_out() -> None:
    assert restored(Halved(), GreyPictures(channels=4), images=2) == []


def test_the_work_can_be_ended_before_an_image() -> None:
    def end() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        restored(Halved(), GreyPictures(), images=2, on_image=end)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_holds_what_was_written(tmp_path: Path, channels: int) -> None:
    (tmp_path / "one.png").write_bytes(shown(channels).png())

    read = BeforeAfter.read(tmp_path / "one.png")

    assert (read.name, read.input_psnr_db, read.output_psnr_db) == ("näme", 20.25, 31.5)
    for found, value in ((read.input_HWC, 10), (read.output_HWC, 20), (read.target_HWC, 30)):
        assert np.array_equal(found, image(5, 4, channels, value))


def test_the_middle_keeps_name_and_scores() -> None:
    whole = shown()
    whole.target_HWC[1:4, 1:3] = 99

    middle, all_of_it = whole.middle(3), whole.middle(50)

    assert middle.target_HWC.shape == (3, 3, 3)  # rows 1 to 3 of 5, columns 0 to 2 of 4
    assert middle.target_HWC[:, :, 0].tolist() == [[30, 99, 99]] * 3
    assert middle.output_psnr_db == 31.5
    assert np.array_equal(all_of_it.input_HWC, whole.input_HWC)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.png"
    if content is None:
        Image.new("RGB", (6, 2)).save(path)
    else:
        path.write_bytes(content)

    with pytest.raises(JobError, match=r"other\.png: is no picture of a test image"):
        BeforeAfter.read(path)


def test_so_many_images_of_a_trial_are_kept_and_no_more(tmp_path: Path) -> None:
    asked: list[None] = []

    write_images(Halved(), GreyPictures(), tmp_path, lambda: asked.append(None))

    kept = [BeforeAfter.read(path).name for path in sorted(tmp_path.iterdir())]
    assert kept == ["a", "b"][:IMAGES]
    assert len(asked) == 1  # they come in one batch


@pytest.mark.slow
def test_a_trial_keeps_the_first_test_images_with_the_scores_of_its_network(
    tmp_path: Path,
) -> None:
    spec = denoising(tmp_path, epochs=1)

    train(spec, Recorder())

    kept = [BeforeAfter.read(path) for path in sorted(tmp_path.glob("test_image_*.png"))]
    model = trained.build_trained(spec, trained.load_weights(spec))
    again = trained.test_images(spec, model, IMAGES)
    assert [each.name for each in kept] == [each.name for each in again]
    assert len(kept) == 1  # all there are
    for one, other in zip(kept, again, strict=True):
        assert one.target_HWC.shape == (IMAGE_PX, IMAGE_PX, 3)
        assert np.array_equal(one.output_HWC, other.middle(IMAGE_PX).output_HWC)
        assert one.output_psnr_db == pytest.approx(other.output_psnr_db, abs=1e-9)
        assert one.input_psnr_db == pytest.approx(20.17, abs=0.1)  # 20 log10(255 / 25)
    assert sum(path.stat().st_size for path in tmp_path.glob("test_image_*.png")) < 500_000
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.slow
def test_a_classifier_keeps_its_confusion_matrix_alone(tmp_path: Path) -> None:
    spec = classification(tmp_path, epochs=1)
    task, _ = rank_doubles.task_and_network(spec)

    train(spec, Recorder())

    matrix_KK = np.loadtxt(tmp_path / "test_confusion.csv", delimiter=",", dtype=int)
    assert matrix_KK.shape == (4, 4)
    assert matrix_KK.sum() == len(task.names("test"))
    assert not list(tmp_path.glob("test_image_*.png"))
