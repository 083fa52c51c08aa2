"""Classification: order, crops and flips by hand, and each sample the same in any company."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from wconv_jobs.catalog import epoch_metrics
from wconv_jobs.errors import JobError
from wconv_jobs.tasks import classification, evaluation_batches
from wconv_jobs.tasks.classification import ClassificationTask, ImagePart, standardized

# Shape letters: B batch, C channels, H height, W width, N images, S samples.

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _as_they_are(image_BCHW: Tensor) -> Tensor:
    return image_BCHW.to(torch.float32)


def _task(
    images: int = 20, device: str = "cpu", seed: int = 7, **options: Any
) -> ClassificationTask:
    """Return a task whose image n, 2 x 3 pixels, holds 6 n, ..., 6 n + 5 and is of class n % 4.

    The last two images are for validation, the two before for the test.
    """
    image_NCHW = torch.arange(6 * images, dtype=torch.uint8).view(images, 1, 2, 3)
    class_N = torch.arange(images) % 4

    def part(first: int, last: int) -> ImagePart:
        names = [f"image {number}" for number in range(first, last)]
        return ImagePart(image_NCHW, class_N, torch.arange(first, last), names)

    return ClassificationTask(
        train=part(0, images - 4),
        test=part(images - 4, images - 2),
        validation=part(images - 2, images),
        classes=4,
        seed=seed,
        device=device,
        **({"normalize": _as_they_are} | options),
    )


def _draw(monkeypatch: pytest.MonkeyPatch, drawn: list[int]) -> None:
    """Make every sample get this top, left, flip down and flip across."""

    def below(stream_S: Tensor, limit_SN: Tensor) -> Tensor:
        return torch.tensor(drawn).expand(limit_SN.shape)

    monkeypatch.setattr(classification, "below", below)


@pytest.mark.parametrize(
    ("drawn", "seen"),
    [
        # The image [[0, 1, 2], [3, 4, 5]] has a border of one zero.
        ([0, 0, 0, 0], [[0, 0, 0], [0, 0, 1]]),
        ([1, 1, 0, 0], [[0, 1, 2], [3, 4, 5]]),
        ([2, 1, 0, 0], [[3, 4, 5], [0, 0, 0]]),
        ([1, 2, 0, 0], [[1, 2, 0], [4, 5, 0]]),
        ([1, 1, 1, 0], [[3, 4, 5], [0, 1, 2]]),
        ([1, 1, 0, 1], [[2, 1, 0], [5, 4, 3]]),
        ([1, 2, 1, 1], [[0, 5, 4], [0, 2, 1]]),
    ],
)
def test_an_image_is_bordered_with_zeros_cut_and_flipped(
    monkeypatch: pytest.MonkeyPatch, drawn: list[int], seen: list[list[int]]
) -> None:
    _draw(monkeypatch, drawn)
    task = _task(images=5, flip_across=True, flip_down=True, pad_px=1)

    image_BCHW, class_B = task.train_batch(0, range(1))

    assert image_BCHW.tolist() == [[seen]]
    assert class_B.tolist() == [0]


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, [[0, 1, 2], [3, 4, 5]]),
        ({"flip_across": True}, [[2, 1, 0], [5, 4, 3]]),
        ({"flip_down": True}, [[3, 4, 5], [0, 1, 2]]),
    ],
)
def test_only_what_was_asked_for_happens(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], seen: list[list[int]]
) -> None:
    _draw(monkeypatch, [0, 0, 1, 1])

    image_BCHW, _ = _task(images=5, **options).train_batch(0, range(1))

    assert image_BCHW.tolist() == [[seen]]


def test_the_border_is_put_around_the_normalized_image(monkeypatch: pytest.MonkeyPatch) -> None:
    _draw(monkeypatch, [0, 0, 0, 0])
    task = _task(images=5, normalize=lambda image_BCHW: image_BCHW + 100.0, pad_px=1)

    image_BCHW, _ = task.train_batch(0, range(1))

    assert image_BCHW.tolist() == [[[[0, 0, 0], [0, 100, 101]]]]


def test_every_epoch_shows_each_training_image_once_in_another_order() -> None:
    task = _task()

    epochs = [task.train_batch(epoch, range(16)) for epoch in range(2)]

    numbers = [(image_BCHW[:, 0, 0, 0] / 6).int().tolist() for image_BCHW, _ in epochs]
    assert sorted(numbers[0]) == sorted(numbers[1]) == list(range(16))
    assert numbers[0] != numbers[1]
    assert numbers[0] != list(range(16))
    assert [class_B.tolist() for _, class_B in epochs] == [
        [number % 4 for number in order] for order in numbers
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_a_sample_asked_for_alone_equals_the_sample_in_a_batch(device: str) -> None:
    options: dict[str, Any] = {"flip_across": True, "flip_down": True, "pad_px": 2}
    options["normalize"] = standardized([0.4], [0.3], device)
    image_BCHW, class_B = _task(device=device, **options).train_batch(3, range(16))
    task = _task(device=device, **options)
    task.train_batch(2, range(7))

    alone = [task.train_batch(3, range(sample, sample + 1)) for sample in range(16)]
    every_third = task.train_batch(3, range(1, 16, 3))

    assert torch.equal(torch.cat([image for image, _ in alone]), image_BCHW)
    assert torch.equal(torch.cat([number for _, number in alone]), class_B)
    assert torch.equal(every_third[0], image_BCHW[1::3])


@pytest.mark.gpu
def test_batches_on_the_gpu_have_the_bits_of_those_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def batch(device: str) -> Tensor:
        normalize = standardized([0.4], [0.3], device)
        task = _task(device=device, normalize=normalize, flip_across=True, pad_px=1)
        return task.train_batch(1, range(16))[0]

    resident = batch("cuda")
    monkeypatch.setattr(classification, "resident", lambda images, device: images)
    streamed = batch("cuda")

    assert resident.device.type == streamed.device.type == "cuda"
    assert torch.equal(resident.cpu(), batch("cpu"))
    assert torch.equal(streamed.cpu(), batch("cpu"))


def test_the_flips_of_a_study_do_not_depend_on_its_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    image_NCHW = torch.arange(3, dtype=torch.uint8).view(1, 1, 1, 3).repeat(200, 1, 9, 1)

    def flipped(pad_px: int) -> list[bool]:
        part = ImagePart(image_NCHW, torch.zeros(200, dtype=torch.int64), torch.arange(200))
        task = ClassificationTask(
            train=part,
            validation=part,
            test=part,
            classes=2,
            normalize=_as_they_are,
            seed=7,
            device="cpu",
            flip_across=True,
            pad_px=pad_px,
        )
        image_BCHW, _ = task.train_batch(0, range(200))
        # The middle column holds 0, 1 or 2 by the place; the order tells the flip.
        row_BW = image_BCHW[:, 0, 4]
        steps = row_BW.diff(dim=1)
        return [bool((step == -1).any()) for step in steps]

    without, with_crops = flipped(0), flipped(1)

    # A crop at the right edge shows (1, 2, 0): its step down by 2 is no flip.
    assert without == with_crops
    assert 70 < sum(without) < 130


def test_the_seed_decides_order_and_augmentation() -> None:
    one, other = (_task(seed=seed).train_batch(0, range(16))[0] for seed in (7, 8))

    assert not torch.equal(one, other)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()

    _task(flip_across=True, pad_px=1).train_batch(0, range(4))

    assert torch.equal(torch.get_rng_state(), before)


def test_items_are_the_images_of_the_part_as_they_are() -> None:
    task = _task(flip_across=True, flip_down=True, pad_px=3)

    ((image_BCHW, class_B),) = task.evaluation_batches("validation", range(2))

    assert task.names("validation") == ("image 18", "image 19")
    assert task.names("test") == ("image 16", "image 17")
    assert image_BCHW[:, 0].tolist() == [
        [[108, 109, 110], [111, 112, 113]],
        [[114, 115, 116], [117, 118, 119]],
    ]
    assert class_B.tolist() == [2, 3]


def test_items_come_in_batches_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_batches, "EVALUATION_PX", 7)  # three images of two pixels
    image_NCHW = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 2, 1)
    part = ImagePart(image_NCHW, torch.zeros(10, dtype=torch.int64), torch.arange(10))
    task = ClassificationTask(
        train=part,
        validation=part,
        test=part,
        classes=2,
        normalize=_as_they_are,
        seed=7,
        device="cpu",
    )

    def batches(items: range) -> list[list[int]]:
        return [
            image[:, 0, 0, 0].int().tolist() for image, _ in task.evaluation_batches("test", items)
        ]

    assert batches(range(10)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert batches(range(1, 10, 2)) == [[1, 3, 5], [7, 9]]
    assert batches(range(0)) == []
    monkeypatch.setattr(evaluation_batches, "EVALUATION_PX", 1)
    assert batches(range(2)) == [[0], [1]]


def test_shared_images_lie_in_the_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[Tensor] = []

    def resident(images: Tensor, device: torch.device) -> Tensor:
        moved.append(images)
        return images

    monkeypatch.setattr(classification, "resident", resident)

    _task()

    assert len(moved) == 1


def test_images_are_standardized_channel_by_channel() -> None:
    image_BCHW = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)

    value_BCHW = standardized([0.25, 0.5], [0.5, 0.25], "cpu")(image_BCHW)

    # (0 - 0.25) / 0.5 and (1 - 0.5) / 0.25
    assert value_BCHW.dtype == torch.float32
    assert value_BCHW.flatten().tolist() == pytest.approx([-0.5, 2.0])


@pytest.mark.parametrize(
    ("smoothing", "loss"),
    [
        # Probabilities 5/8, 1/8, 1/8, 1/8; smoothing 0.4 gives each class 0.1 of the target.
        (0.0, -math.log(5 / 8)),
        (0.4, -0.7 * math.log(5 / 8) - 0.3 * math.log(1 / 8)),
    ],
)
def test_the_loss_is_the_cross_entropy_with_label_smoothing(smoothing: float, loss: float) -> None:
    logits = torch.tensor([[math.log(5.0), 0.0, 0.0, 0.0]])

    value = _task().loss(logits, torch.tensor([0]), label_smoothing=smoothing)

    assert value.item() == pytest.approx(loss)


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 1, 1), (2,)])
def test_logits_that_do_not_fit_the_classes_are_refused(shape: tuple[int, ...]) -> None:
    task = _task()

    with pytest.raises(JobError, match=r"returns \(2.* for 4 classes.* with num_classes: 4"):
        task.loss(torch.zeros(shape), torch.tensor([0, 1]), label_smoothing=0.0)


def test_it_has_the_metrics_of_its_kind_and_its_input_is_no_estimate() -> None:
    task = _task()

    assert task.metrics == epoch_metrics("classification")
    assert task.classes == 4
    assert task.epoch_samples == 16
    assert not task.input_is_estimate
