"""Metrics are built by name and add up over ranks."""

import math

import pytest
import torch
from torch import Tensor

from wconv_jobs.catalog import metric_goal, names
from wconv_jobs.errors import JobError
from wconv_jobs.metrics import build_metric

# Shape letters: B batch, C channels, H height, W width, K classes.


def _batch(name: str) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    if name == "accuracy":
        return torch.rand(7, 3, generator=drawn), torch.randint(3, (7,), generator=drawn)
    shape = (7, 3, 8, 9)
    return torch.rand(shape, generator=drawn), torch.rand(shape, generator=drawn)


@pytest.mark.parametrize("name", names("metrics"))
def test_an_uneven_split_over_ranks_does_not_change_the_value(name: str) -> None:
    output, target = _batch(name)
    whole = build_metric(name)
    whole.update(output, target)
    # The third rank gets two batches, the last one nothing.
    ranks = [build_metric(name) for _ in range(4)]
    for rank, part in [(0, slice(0, 1)), (1, slice(1, 4)), (2, slice(4, 6)), (2, slice(6, 7))]:
        ranks[rank].update(output[part], target[part])

    states = torch.stack([metric.state() for metric in ranks])

    expected = whole.compute(whole.state())
    assert states.dtype == torch.float64
    assert whole.compute(states.sum(0)) == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize("name", names("metrics"))
def test_a_metric_of_no_sample_is_not_a_number(name: str) -> None:
    metric = build_metric(name)

    assert math.isnan(metric.compute(metric.state()))


@pytest.mark.parametrize("name", names("metrics"))
def test_a_network_that_returns_nan_never_scores_a_finite_value(name: str) -> None:
    output, target = _batch(name)
    metric = build_metric(name)

    metric.update(torch.full_like(output, math.nan), target)

    # Accuracy has no way to say it: argmax takes NaN for the largest logit.
    value = metric.compute(metric.state())
    assert math.isnan(value) or name == "accuracy"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", names("metrics"))
def test_a_metric_on_the_gpu_has_the_value_of_the_cpu_and_its_state_there(name: str) -> None:
    output, target = _batch(name)
    on_cpu, on_gpu = build_metric(name), build_metric(name)

    on_cpu.update(output, target)
    on_gpu.update(output.cuda(), target.cuda())

    assert on_gpu.state().device.type == "cpu"
    assert torch.allclose(on_gpu.state(), on_cpu.state(), rtol=1e-12)


def test_the_goals() -> None:
    goals = {name: metric_goal(name) for name in ("accuracy", "nrmse", "psnr_db")}

    assert goals == {"accuracy": "maximize", "nrmse": "minimize", "psnr_db": "maximize"}


def test_an_unknown_metric_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(JobError, match="metrics: unknown name 'psnr'; did you mean 'psnr_db'"):
        build_metric("psnr")
