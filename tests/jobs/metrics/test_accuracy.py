"""Accuracy against numbers by hand."""

import pytest
import torch

from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, K classes.


def test_the_largest_logit_counts() -> None:
    logits_BK = torch.tensor([[1.0, 2.0, 0.0], [-1.0, -2.0, -3.0], [0.0, 5.0, 6.0]])
    class_B = torch.tensor([1, 0, 1])
    metric = build_metric("accuracy")

    metric.update(logits_BK, class_B)

    assert metric.state().tolist() == [2, 3]
    assert metric.compute(metric.state()) == 2 / 3


def test_batches_of_different_size_weigh_by_their_samples() -> None:
    metric = build_metric("accuracy")

    metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    metric.update(torch.tensor([[0.0, 1.0]] * 3), torch.tensor([0, 0, 0]))

    assert metric.compute(metric.state()) == 0.25


def test_images_are_not_taken_for_logits() -> None:
    metric = build_metric("accuracy")

    with pytest.raises(JobError, match=r"output has \(2, 3, 4, 4\) and the target \(2,\)"):
        metric.update(torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64))
