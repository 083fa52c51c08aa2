"""Macro-F1 and the confusion matrix against numbers by hand and a count in a loop."""

import math

import pytest
import torch
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.metrics import ConfusionMatrix, build_metric

# Shape letters: B batch, K classes.


def _logits(predicted: list[int], classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()


def _f1_in_a_loop(predicted: list[int], true: list[int], classes: int) -> float:
    pairs = list(zip(predicted, true, strict=True))
    total = 0.0
    for k in range(classes):
        hits = sum(p == k and t == k for p, t in pairs)
        false_alarms = sum(p == k and t != k for p, t in pairs)
        misses = sum(p != k and t == k for p, t in pairs)
        involved = 2 * hits + false_alarms + misses
        total += 2 * hits / involved if involved else 0.0
    return total / classes


def test_each_class_weighs_the_same_and_an_absent_one_scores_0() -> None:
    metric = build_metric("macro_f1", classes=4)

    metric.update(_logits([0, 0, 0, 1, 2], 4), torch.tensor([0, 0, 1, 1, 1]))

    # Class 0: 2 hits, 1 false alarm. Class 1: 1 hit, 2 misses. Class 2: 1 false alarm.
    assert metric.compute(metric.state()) == pytest.approx((4 / 5 + 2 / 4 + 0 + 0) / 4, rel=1e-15)


def test_it_equals_a_count_in_a_loop() -> None:
    drawn = torch.Generator().manual_seed(0)
    logits_BK = torch.rand(200, 10, generator=drawn)
    # Class 9 does not occur.
    class_B = torch.randint(9, (200,), generator=drawn)
    metric = build_metric("macro_f1", classes=10)

    for start, stop in [(0, 64), (64, 128), (128, 200)]:
        metric.update(logits_BK[start:stop], class_B[start:stop])

    expected = _f1_in_a_loop(logits_BK.argmax(1).tolist(), class_B.tolist(), 10)
    assert metric.compute(metric.state()) == pytest.approx(expected, rel=1e-14)


def test_rows_of_the_matrix_are_true_classes_and_columns_predicted_ones() -> None:
    confusion = ConfusionMatrix(3)

    confusion.update(_logits([2, 2, 0], 3), torch.tensor([1, 1, 0]))

    matrix_KK = confusion.matrix(confusion.state())
    assert matrix_KK.tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]
    assert matrix_KK.dtype == torch.int64


def test_the_state_of_macro_f1_is_the_matrix() -> None:
    metric, confusion = build_metric("macro_f1", classes=3), ConfusionMatrix(3)

    for each in (metric, confusion):
        each.update(_logits([2, 2, 0], 3), torch.tensor([1, 1, 0]))

    assert torch.equal(metric.state(), confusion.state())


def test_a_rank_without_samples_adds_a_matrix_of_zeros() -> None:
    some, none = ConfusionMatrix(2), ConfusionMatrix(2)

    some.update(_logits([1], 2), torch.tensor([0]))

    assert some.matrix(some.state() + none.state()).tolist() == [[0, 1], [0, 0]]


def test_a_network_that_returns_nan_is_counted_without_an_error() -> None:
    confusion = ConfusionMatrix(2)

    confusion.update(torch.full((3, 2), math.nan), torch.tensor([0, 1, 1]))

    assert confusion.state().sum() == 3


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_class_number_that_does_not_exist_is_refused(wrong: int) -> None:
    confusion = ConfusionMatrix(3)

    confusion.update(_logits([0, 1], 3), torch.tensor([0, wrong]))

    with pytest.raises(JobError, match=r"1 samples have a class label outside 0\.\.2"):
        confusion.state()


def test_a_classifier_for_another_number_of_classes_is_refused() -> None:
    metric = build_metric("macro_f1", classes=3)

    with pytest.raises(JobError, match=r"3 classes .* output has \(2, 4\) and the target \(2,\)"):
        metric.update(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
