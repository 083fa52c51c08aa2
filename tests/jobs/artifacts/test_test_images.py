"""Test images before and after a network: its output, the scores of the test, one file each."""

import io
import math
import os
import subprocess
import sys
import traceback
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torch import Tensor, nn

from tests.jobs.ranks import rank_doubles
from tests.jobs.trials import Recorder, classification, denoising
from wconv_jobs.artifacts.before_after import BeforeAfter
from wconv_jobs.artifacts.test_images import FirstImages, restored
from wconv_jobs.artifacts.trial_files import IMAGE_PX, IMAGES, write_confusion, write_images
from wconv_jobs.errors import JobError
from wconv_jobs.messages import Report
from wconv_jobs.spec import TEST_IMAGE_FILE
from wconv_jobs.tasks.task import Part
from wconv_jobs.training import loop, trained
from wconv_jobs.training.checkpoint import Progress
from wconv_jobs.training.loop import train


def image(height: int, width: int, channels: int, value: int = 0) -> NDArray[np.uint8]:
    return np.full((height, width, channels), value, np.uint8)


def shown(channels: int = 3) -> BeforeAfter:
    return BeforeAfter(
        "näme", 20.25, 31.5, *(image(5, 4, channels, value) for value in (10, 20, 30))
    )


def kept_in(folder: Path) -> list[BeforeAfter]:
    paths = sorted(folder.glob(TEST_IMAGE_FILE.format("*")))
    return [BeforeAfter.of_png(path.read_bytes()) for path in paths]


class GrayPictures:
    """A task with three pictures of 4 x 6 pixels, all of the gray level 0.5, with 0.1 added."""

    epoch_samples = 3
    metrics: tuple[str, ...] = ("psnr_db",)
    classes: int | None = None
    input_is_estimate = True

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels

    def train_batch(self, epoch: int, samples: range) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def names(self, part: Part) -> Sequence[str]:
        return ["a", "b", "c"]

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        assert part == "test"
        target_BCHW = torch.full((len(items), self.channels, 4, 6), 0.5)
        yield target_BCHW + 0.1, target_BCHW

    def loss(self, output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
        raise NotImplementedError


class Numbered(GrayPictures):
    """A task by somebody who read of it in a hurry: names are numbers, and no item is left out."""

    def names(self, part: Part) -> Sequence[str]:
        return range(3)  # type: ignore[return-value]

    def evaluation_batches(self, part: Part, items: range) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(2):
            yield from super().evaluation_batches(part, range(3))


class Halved(nn.Module):
    """Halves its input, and looks as if it could be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, input_BCHW: Tensor) -> Tensor:
        return input_BCHW * self.factor


def test_pixels_and_scores_are_those_of_a_count_by_hand() -> None:
    first, second = restored(Halved(), GrayPictures(), images=2)

    assert (first.name, second.name) == ("a", "b")
    # Input 0.6: an error of 0.1, 20 dB. Output 0.3: an error of 0.2, 20 - 20 log10(2) dB.
    assert first.input_psnr_db == pytest.approx(20.0, abs=1e-4)
    assert first.output_psnr_db == pytest.approx(13.9794, abs=1e-4)
    pixels = [first.input_HWC, first.output_HWC, first.target_HWC]
    assert [each.shape for each in pixels] == [(4, 6, 1)] * 3
    assert [set(each.flat) for each in pixels] == [{153}, {76}, {128}]  # 255 * (0.6, 0.3, 0.5)


class Painted(Halved):
    """Puts out one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, input_BCHW: Tensor) -> Tensor:
        return torch.full_like(input_BCHW, self.value)


@pytest.mark.parametrize(
    ("value", "pixel"), [(math.nan, 0), (-math.inf, 0), (-0.5, 0), (1.5, 255), (math.inf, 255)]
)
def test_outputs_that_are_no_colors_are_shown_as_the_nearest(value: float, pixel: int) -> None:
    (first,) = restored(Painted(value), GrayPictures(), images=1)

    assert set(first.output_HWC.flat) == {pixel}
    assert set(first.input_HWC.flat) == {153}


def test_a_task_that_names_by_number_and_yields_too_many_is_put_up_with() -> None:
    for images in (2, 3):
        found = restored(Halved(), Numbered(), images)

        assert [each.name for each in found] == ["0", "1", "2"][:images]
        assert [each.png() for each in found]


def test_the_images_of_a_test_of_single_images_are_those_of_a_pass_of_their_own() -> None:
    task, network = GrayPictures(), Halved()
    expected = restored(network, task, images=2)
    first = FirstImages(task, 2)

    for item in range(3):
        for inputs, targets in task.evaluation_batches("test", range(item, item + 1)):
            first.take(inputs, network(inputs).detach(), targets)

    assert [each.png() for each in first.found] == [each.png() for each in expected]


def test_a_trial_of_one_rank_shows_the_network_its_test_images_once(tmp_path: Path) -> None:
    spec, seen = denoising(tmp_path, epochs=1), list[tuple[int, ...]]()
    run = loop.Run(spec, loop.LONE_PROCESS, lambda: False)
    report = Report(epoch=1, metrics={"loss": 0.0, "lr": 0.0}, epoch_s=1.0)
    run.model.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))

    run.save(Progress([report]))
    run.test([report])

    assert len(seen) == len(run.task.names("test"))
    assert len(kept_in(tmp_path)) == min(IMAGES, len(seen))


def test_images_that_are_neither_gray_nor_rgb_are_left_out() -> None:
    assert restored(Halved(), GrayPictures(channels=4), images=2) == []


def test_the_work_can_be_ended_before_a_batch_of_images() -> None:
    def end() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        restored(Halved(), GrayPictures(), images=2, on_batch=end)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_holds_what_was_written(channels: int) -> None:
    read = BeforeAfter.of_png(shown(channels).png())

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


def test_scores_that_are_no_numbers_of_every_day_are_held_too() -> None:
    perfect = replace(shown(), input_psnr_db=math.inf, output_psnr_db=math.nan)

    read = BeforeAfter.of_png(perfect.png())

    assert read.input_psnr_db == math.inf
    assert math.isnan(read.output_psnr_db)


def test_a_name_that_is_no_text_is_held_with_question_marks() -> None:
    name = os.fsdecode(b"caf\xe9.png")  # of a file from a machine that does not use UTF-8

    read = BeforeAfter.of_png(replace(shown(), name=name).png())

    assert read.name == "caf?.png"


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def forged(width: int, height: int) -> bytes:
    """A file that says to be of this size, with the right checksum."""
    content = shown().png()
    header = width.to_bytes(4) + height.to_bytes(4) + content[24:29]
    return content[:8] + chunk(b"IHDR", header) + content[33:]


def of_mode(mode: str) -> bytes:
    """A file that says to be a test image, but whose pixels are others."""
    text = PngImagePlugin.PngInfo()
    for key, value in (("name", "sea"), ("input_psnr_db", "20"), ("output_psnr_db", "30")):
        text.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.new(mode, (6, 2)).save(buffer, "png", pnginfo=text)
    return buffer.getvalue()


def without_text() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 2)).save(buffer, "png")
    return buffer.getvalue()


def with_a_wrong_byte(before: bytes) -> bytes:
    """A file with a zero in place of the byte before this; its pixels differ from one another."""
    drawn = np.random.default_rng(5)
    noise = (drawn.integers(0, 256, (9, 9, 3), np.uint8) for _ in range(3))
    content = bytearray(BeforeAfter("noise", 20.0, 30.0, *noise).png())
    content[content.index(before) - 1] = 0
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not a PNG file"),
        (b"no picture", "it is not a PNG file"),
        (without_text(), "KeyError: 'name'"),
        (shown().png()[:-30], "OSError: "),
        (shown().png()[:20], "OSError: "),
        (with_a_wrong_byte(b"DAT"), "it is not a PNG file"),
        (with_a_wrong_byte(b"IDAT"), "SyntaxError: broken PNG file"),
        (forged(2**30, 2**30), "DecompressionBombError: "),
        (forged(10_000, 10_000), "DecompressionBombWarning: "),
        (forged(300, 300), "OSError: "),
        (of_mode("I;16"), "ValueError: its mode is I;16, not L or RGB"),
        (of_mode("RGBA"), "ValueError: its mode is RGBA, not L or RGB"),
        (of_mode("P"), "ValueError: its mode is P, not L or RGB"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,
)
def test_a_file_that_is_something_else_or_damaged_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(JobError) as raised:
        BeforeAfter.of_png(content)

    start = "is not a picture of a test image before and after the network ("
    assert str(raised.value).startswith(start + why)


def test_so_many_images_of_a_trial_are_kept_and_no_more(tmp_path: Path) -> None:
    asked: list[None] = []

    write_images(Halved(), GrayPictures(), tmp_path, lambda: asked.append(None))

    kept = [each.name for each in kept_in(tmp_path)]
    assert kept == ["a", "b"][:IMAGES]
    assert len(asked) == 1  # they come in one batch


def test_what_cannot_be_kept_is_told_in_a_line_and_the_trial_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()

    write_images(Halved(), GrayPictures(), no_folder, lambda: None)
    write_confusion(torch.eye(2), no_folder)

    images, matrix = capsys.readouterr().err.splitlines()
    for line, what in (
        (images, "test images before and after the network"),
        (matrix, "the confusion matrix"),
    ):
        assert line.startswith(f"{no_folder}: {what} could not be saved ([Errno 20] Not a dir")
        assert line.endswith("Free disk space, or make the folder writable, for later trials.")


@pytest.mark.slow
def test_a_trial_goes_on_also_where_its_log_is_on_the_same_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    code = (
        "import sys; from pathlib import Path; import torch; "
        "from wconv_jobs.artifacts.trial_files import write_confusion; "
        "write_confusion(torch.eye(2), Path(sys.argv[1])); print('gone on')"
    )

    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "file")],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )

    # Python ends with 120 where it cannot write the rest; a rank has sent its result by then.
    assert (ended.stdout, ended.returncode) == ("gone on\n", 120)


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_unfinished(tmp_path: Path) -> None:
    # A limit on the size of files fails in the middle of a write, like a full disk.
    code = (
        "import resource, signal, sys; from pathlib import Path; import torch; "
        "from wconv_jobs.artifacts.trial_files import write_confusion; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "write_confusion(torch.zeros(50, 50), Path(sys.argv[1]))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert "the confusion matrix could not be saved ([Errno 27] File too large" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_demand_while_pictures_are_made_stops_the_trial_and_the_next_one_ends_it(
    tmp_path: Path,
) -> None:
    def makes_pictures() -> bool:
        return any(frame.name == "write_images" for frame in traceback.extract_stack())

    expected = train(denoising(tmp_path / "whole", epochs=1), Recorder())

    stopped = train(denoising(tmp_path / "parts", epochs=1), Recorder(), demanded=makes_pictures)
    left = kept_in(tmp_path / "parts")
    resumed = train(denoising(tmp_path / "parts", epochs=1), Recorder())

    assert (stopped.ending, stopped.metrics, len(stopped.reports)) == ("stopped", {}, 1)
    assert left == []
    assert (resumed.ending, resumed.metrics) == ("complete", expected.metrics)
    assert [each.png() for each in kept_in(tmp_path / "parts")] == [
        each.png() for each in kept_in(tmp_path / "whole")
    ]


@pytest.mark.slow
def test_a_trial_keeps_the_first_test_images_with_the_scores_of_its_network(
    tmp_path: Path,
) -> None:
    spec = denoising(tmp_path, epochs=1)

    train(spec, Recorder())

    kept = kept_in(tmp_path)
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


@pytest.mark.slow
def test_a_classifier_keeps_its_confusion_matrix_alone(tmp_path: Path) -> None:
    spec = classification(tmp_path, epochs=1)
    task, _ = rank_doubles.task_and_network(spec)

    train(spec, Recorder())

    matrix_KK = np.loadtxt(tmp_path / "test_confusion.csv", delimiter=",", dtype=int)
    assert matrix_KK.shape == (4, 4)
    assert matrix_KK.sum() == len(task.names("test"))
    assert not list(tmp_path.glob("test_image_*.png"))
