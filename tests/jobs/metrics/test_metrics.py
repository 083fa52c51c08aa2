"""Metrics are built by name and add up over ranks."""

import math

import pytest
import torch
from torch import Tensor

from wconv_jobs.catalog import epoch_metrics, further_metrics, metric_facts, names
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, C channels, H height, W width, K classes.

BY_CLASS = ("accuracy", "macro_f1")
"""Metrics of logits and class numbers; all others compare images."""


def _batch(name: str) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    if name in BY_CLASS:
        return torch.rand(7, 3, generator=drawn), torch.randint(3, (7,), generator=drawn)
    shape = (7, 3, 16, 17)
    return torch.rand(shape, generator=drawn), torch.rand(shape, generator=drawn)


@pytest.mark.parametrize("name", names("metrics"))
def test_an_uneven_split_over_ranks_does_not_change_the_value(name: str) -> None:
    output, target = _batch(name)
    whole = build_metric(name, classes=3)
    whole.update(output, target)
    # The third rank gets two batches, the last one nothing.
    ranks = [build_metric(name, classes=3) for _ in range(4)]
    for rank, part in [(0, slice(0, 1)), (1, slice(1, 4)), (2, slice(4, 6)), (2, slice(6, 7))]:
        ranks[rank].update(output[part], target[part])

    states = torch.stack([metric.state() for metric in ranks])

    expected = whole.compute(whole.state())
    assert states.dtype == torch.float64
    assert whole.compute(states.sum(0)) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", names("metrics"))
def test_a_metric_of_no_sample_is_not_a_number(name: str) -> None:
    metric = build_metric(name, classes=3)

    assert math.isnan(metric.compute(metric.state()))


@pytest.mark.parametrize("name", names("metrics"))
def test_a_network_that_returns_nan_never_scores_a_finite_value(name: str) -> None:
    output, target = _batch(name)
    metric = build_metric(name, classes=3)

    metric.update(torch.full_like(output, math.nan), target)

    # Counts have no way to say it: argmax takes NaN for the largest logit.
    value = metric.compute(metric.state())
    assert math.isnan(value) or name in BY_CLASS


@pytest.mark.parametrize("name", names("metrics"))
def test_all_types_of_output_are_scored_in_float64(name: str) -> None:
    output, target = _batch(name)
    rounded = output.to(torch.bfloat16)
    narrow, wide = build_metric(name, classes=3), build_metric(name, classes=3)

    narrow.update(rounded, target)
    wide.update(rounded.to(torch.float64), target.double() if target.ndim == 4 else target)

    assert torch.equal(narrow.state(), wide.state())


@pytest.mark.parametrize("name", sorted(set(names("metrics")) - set(BY_CLASS)))
def test_outputs_that_would_be_broadcast_are_refused(name: str) -> None:
    with pytest.raises(JobError, match=r"output has \(2, 1, 16, 16\) and the target \(2, 3, 16"):
        build_metric(name).update(torch.zeros(2, 1, 16, 16), torch.zeros(2, 3, 16, 16))


@pytest.mark.gpu
@pytest.mark.parametrize("name", names("metrics"))
def test_a_metric_on_the_gpu_has_the_value_of_the_cpu_and_its_state_there(name: str) -> None:
    output, target = _batch(name)
    on_cpu, on_gpu = build_metric(name, classes=3), build_metric(name, classes=3)

    on_cpu.update(output, target)
    on_gpu.update(output.cuda(), target.cuda())

    assert on_gpu.state().device.type == "cpu"
    # Transforms and sums of another order round otherwise.
    assert torch.allclose(on_gpu.state(), on_cpu.state(), rtol=1e-10)


def test_every_metric_belongs_to_a_kind_of_task() -> None:
    assert epoch_metrics("classification") == BY_CLASS
    assert epoch_metrics("denoising") == ("nrmse", "psnr_db", "ssim")
    assert further_metrics("classification") == ()
    assert further_metrics("denoising") == ("fsim", "fsimc", "uiq", "uiq_global")


def test_the_goals() -> None:
    to_minimize = {name for name in names("metrics") if metric_facts(name).goal == "minimize"}

    assert to_minimize == {"nrmse"}


def test_a_metric_by_class_needs_the_number_of_classes() -> None:
    with pytest.raises(JobError, match="macro_f1 counts by class, but the task has no classes"):
        build_metric("macro_f1")


def test_an_unknown_metric_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(JobError, match="metrics: unknown name 'psnr'; did you mean 'psnr_db'"):
        build_metric("psnr")
