"""The training run: reproducible, resumable, and the reference's trajectory."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from tests.jobs.trials import Recorder, classification, denoising, same_state, saved
from wconv_jobs import own_code
from wconv_jobs.data import load_data, load_task
from wconv_jobs.errors import JobError, TrainingDiverged
from wconv_jobs.messages import Report, Verdict
from wconv_jobs.models import build_model
from wconv_jobs.recipe.optimizer import SgdSpec
from wconv_jobs.seeding import derive_seed
from wconv_jobs.spec import DataSpec, TrialSpec
from wconv_jobs.tasks.task import Task
from wconv_jobs.training import loop as training
from wconv_jobs.training.initialization import initialize
from wconv_jobs.training.loop import train
from wconv_jobs.training.world import World
from wconv_kernels import DensityEngine, fold, replace_convolutions

Make = Callable[..., TrialSpec]


class _Killed(BaseException):
    """What a test raises where a real run would be killed."""


def _killed_at(epoch: int) -> Callable[[Report], Verdict]:
    def report(report: Report) -> Verdict:
        if report.epoch == epoch:
            raise _Killed
        return Verdict.CONTINUE

    return report


# An interrupted run ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [denoising, classification])
@pytest.mark.slow
def test_a_run_that_is_stopped_and_resumed_ends_bitwise_like_one_that_is_not(
    tmp_path: Path, make: Make
) -> None:
    whole, first, second = Recorder(), Recorder({2: Verdict.STOP}), Recorder()
    expected = train(make(tmp_path / "whole"), whole)

    stopped = train(make(tmp_path / "parts"), first)
    resumed = train(make(tmp_path / "parts"), second)

    assert stopped.ending == "stopped"
    assert stopped.metrics == {}
    assert resumed.ending == "complete"
    assert resumed.metrics == expected.metrics
    assert (whole.epochs, first.epochs, second.epochs) == ([1, 2, 3], [1, 2], [2, 3])
    assert first.reports[-1] == second.reports[0]
    assert whole.metrics == first.metrics + second.metrics[1:]
    assert [report.metrics for report in resumed.reports] == whole.metrics
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("make", [denoising, classification])
def test_a_run_killed_before_its_report_is_answered_loses_nothing(
    tmp_path: Path, make: Make
) -> None:
    whole, second = Recorder(), Recorder()
    expected = train(make(tmp_path / "whole"), whole)

    with pytest.raises(_Killed):
        train(make(tmp_path / "parts"), _killed_at(2))
    resumed = train(make(tmp_path / "parts"), second)

    assert resumed.metrics == expected.metrics
    assert second.metrics == whole.metrics[1:]
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.slow
def test_a_run_killed_before_its_last_report_is_answered_only_repeats_the_report(
    tmp_path: Path,
) -> None:
    with pytest.raises(_Killed):
        train(denoising(tmp_path), _killed_at(3))
    before = saved(tmp_path)
    second = Recorder()

    resumed = train(denoising(tmp_path), second)

    assert (resumed.ending, second.epochs) == ("complete", [3])
    assert resumed.metrics.keys() >= {"test_psnr_db", "input_psnr_db"}
    assert same_state(before, saved(tmp_path))


def test_a_resumed_run_is_pruned_when_the_repeated_report_is_answered_so(tmp_path: Path) -> None:
    train(denoising(tmp_path), Recorder({1: Verdict.STOP}))
    second = Recorder({1: Verdict.PRUNE})

    result = train(denoising(tmp_path), second)

    assert (result.ending, second.epochs) == ("pruned", [1])


# The trajectory --------------------------------------------------------------------------------


def _reference(spec: TrialSpec, optimizer_of: Callable[[nn.Module], Optimizer]) -> nn.Module:
    """Train as anyone would who multiplies W by Phi in forward."""
    recipe, seed = spec.recipe, derive_seed(spec.study_seed, spec.replicate)
    task = load_data(spec.data.name, seed=seed, device="cpu", **spec.data.options)
    model = build_model(spec.model.name, **spec.model.options)
    initialize(model, recipe.init, derive_seed(seed, "init"))
    model.double()
    if set(spec.density) != {1.0}:
        replace_convolutions(model, spec.density)
    optimizer = optimizer_of(model)
    steps = task.epoch_samples // recipe.batch_size
    for number in range(steps * recipe.epochs):
        epoch, step = divmod(number, steps)
        for group in optimizer.param_groups:
            share = number / (steps * recipe.epochs)
            group["lr"] = recipe.optimizer.lr * (0.5 * (1 + math.cos(math.pi * share)))
        samples = range(step * recipe.batch_size, (step + 1) * recipe.batch_size)
        inputs, targets = task.train_batch(epoch, samples)
        targets = targets.double() if targets.is_floating_point() else targets
        loss = task.loss(model(inputs.double()), targets, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model


def _adam(model: nn.Module) -> Optimizer:
    return Adam(model.parameters(), lr=0.01)


def _sgd(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)


@pytest.mark.parametrize(("make", "optimizer_of"), [(denoising, _adam), (classification, _sgd)])
@pytest.mark.parametrize("density", [(0.7,), (0.0,), (1.0,)])
@pytest.mark.slow
def test_the_trajectory_is_bitwise_that_of_the_multiplication_in_forward(
    tmp_path: Path,
    make: Make,
    optimizer_of: Callable[[nn.Module], Optimizer],
    density: tuple[float, ...],
) -> None:
    spec = make(tmp_path, density=density, epochs=2)
    reference = _reference(spec, optimizer_of)

    train(spec, Recorder())

    trained, optimizer = saved(tmp_path)["model"], saved(tmp_path)["optimizer"]
    expected = fold(reference).state_dict()
    assert trained.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(trained[name], expected[name])] == []
    if density == (1.0,):  # the stock network
        assert "density_engine" not in optimizer
        return
    raw = optimizer["density_engine"]
    assert len(raw["weights"]) == (3 if make is denoising else 2)
    for name, weight in raw["weights"].items():
        assert torch.equal(weight, reference.get_parameter(f"{name}.weight"))


# What trials share -----------------------------------------------------------------------------


def _seen(spec: TrialSpec, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Tensor], list[Any]]:
    """The weights before the density acts, and all batches, of a run."""
    weights: dict[str, Tensor] = {}
    batches: list[tuple[Tensor, Tensor]] = []

    def engine(model: nn.Module, density: tuple[float, ...], *_: object) -> DensityEngine:
        weights.update({name: value.clone() for name, value in model.state_dict().items()})
        return DensityEngine(model, density)

    def data(spec: DataSpec, *, seed: int, device: torch.device) -> Task:
        task = load_task(spec, seed=seed, device=device)
        original = task.train_batch

        def train_batch(epoch: int, samples: range) -> tuple[Tensor, Tensor]:
            batches.append(original(epoch, samples))
            return batches[-1]

        monkeypatch.setattr(task, "train_batch", train_batch)
        return task

    monkeypatch.setattr(training, "density_engine", engine)
    monkeypatch.setattr(training, "load_task", data)
    train(spec, Recorder())
    monkeypatch.undo()
    return weights, batches


@pytest.mark.slow
def test_trials_of_all_densities_start_from_the_same_weights_and_see_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _seen(denoising(tmp_path / "0", density=(1.0,), epochs=2), monkeypatch)

    other = _seen(denoising(tmp_path / "1", density=(0.3,), epochs=2), monkeypatch)

    assert len(one[1]) == 5  # one for the check before training
    assert same_state(one, other)
    assert not same_state(one[1][1], one[1][3])


@pytest.mark.parametrize("change", [{"replicate": 1}, {"study_seed": 4}])
@pytest.mark.slow
def test_seed_indices_and_studies_differ_in_weights_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    weights, batches = _seen(denoising(tmp_path / "0", epochs=1), monkeypatch)

    other = _seen(denoising(tmp_path / "1", epochs=1, **change), monkeypatch)

    assert not same_state(weights["layers.0.weight"], other[0]["layers.0.weight"])
    assert not any(same_state(one, two) for one, two in zip(batches, other[1], strict=True))


@pytest.mark.slow
def test_the_noise_of_the_test_does_not_depend_on_the_density(tmp_path: Path) -> None:
    results = [
        train(denoising(tmp_path / str(d), density=(d,), epochs=1), Recorder()) for d in (0.3, 1.0)
    ]

    one, other = (result.metrics for result in results)
    assert one["input_psnr_db"] == other["input_psnr_db"]
    assert one["test_psnr_db"] != other["test_psnr_db"]


# The end ---------------------------------------------------------------------------------------


def test_a_pruned_run_ends_at_that_epoch_with_a_checkpoint(tmp_path: Path) -> None:
    recorder = Recorder({2: Verdict.PRUNE})

    result = train(denoising(tmp_path), recorder)

    assert (result.ending, recorder.epochs) == ("pruned", [1, 2])
    assert [report["epoch"] for report in saved(tmp_path)["reports"]] == [1, 2]


@pytest.mark.slow
def test_a_run_past_its_deadline_stops_after_a_step_with_a_checkpoint(tmp_path: Path) -> None:
    late, again, in_time = Recorder(), Recorder(), Recorder()

    first = train(denoising(tmp_path, deadline_s=0.0), late)
    second = train(denoising(tmp_path, deadline_s=0.0), again)
    third = train(denoising(tmp_path), in_time)

    # Also an attempt that is late from the start does a step, so that it goes on at all.
    assert [result.ending for result in (first, second, third)] == ["stopped"] * 2 + ["complete"]
    assert (late.epochs, again.epochs, in_time.epochs) == ([], [], [1, 2, 3])


def test_an_attempt_past_its_deadline_between_two_epochs_trains_nothing(tmp_path: Path) -> None:
    train(denoising(tmp_path), Recorder({1: Verdict.STOP}))
    before, late = saved(tmp_path), Recorder()

    result = train(denoising(tmp_path, deadline_s=0.0), late)

    assert (result.ending, late.epochs) == ("stopped", [1])
    assert same_state(saved(tmp_path), before)


def test_a_diverged_training_says_what_is_not_finite_and_after_which_epoch(
    tmp_path: Path,
) -> None:
    optimizer = SgdSpec(name="sgd", lr=1e200)
    recorder = Recorder()

    with pytest.raises(TrainingDiverged, match=r"train_loss is (inf|nan) after epoch 1"):
        train(denoising(tmp_path, norm="none", optimizer=optimizer), recorder)

    assert recorder.epochs == []
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_metric_that_may_be_infinite_ends_no_training(tmp_path: Path) -> None:
    # The NRMSE of a target of one color is infinite, however good a network is.
    source = """
import torch


def flat(seed):
    gray = torch.full((4, 3, 16, 16), 0.5)
    return dict.fromkeys(("train", "validation", "test"), (gray + 0.1, gray))
"""
    (tmp_path / "one_color.py").write_text(source, "utf-8")
    data = DataSpec(name="one_color:flat", kind="denoising")

    with own_code.folder_added(tmp_path):
        result = train(denoising(tmp_path, epochs=1).model_copy(update={"data": data}), Recorder())

    assert result.ending == "complete"
    assert result.metrics["nrmse"] == math.inf


def test_a_batch_that_the_ranks_cannot_share_is_refused(tmp_path: Path) -> None:
    world = World(rank=0, size=3, device=torch.device("cpu"))

    with pytest.raises(
        JobError, match=r"recipe.batch_size is 4, which 3 ranks cannot share evenly"
    ):
        train(denoising(tmp_path), Recorder(), world)


def test_a_batch_larger_than_the_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"batch_size is 9, but an epoch .* has only 8 samples"):
        train(denoising(tmp_path, batch_size=9), Recorder())


# The recipe ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lr_schedule", "factor"), [("constant", 1.0), ("cosine", 0.5)])
def test_the_schedule_sets_the_learning_rate_per_step(
    tmp_path: Path, lr_schedule: str, factor: float
) -> None:
    # After one of two epochs: cosine is half way from lr to 0.
    spec = denoising(tmp_path, lr_schedule=lr_schedule, epochs=2)

    train(spec, Recorder({1: Verdict.STOP}))

    (group,) = saved(tmp_path)["optimizer"]["param_groups"]
    assert group["lr"] == pytest.approx(0.01 * factor, rel=1e-12)


def test_the_clipped_step_has_the_length_of_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One step of plain SGD with lr = 1: W changes by minus the clipped gradient.
    optimizer = SgdSpec(name="sgd", lr=1.0)
    spec = denoising(
        tmp_path, norm="none", optimizer=optimizer, batch_size=8, epochs=1, clip_grad_norm=1e-3
    )

    before, _ = _seen(spec, monkeypatch)

    after = saved(tmp_path)["model"]
    for name, raw in saved(tmp_path)["optimizer"]["density_engine"]["weights"].items():
        after[f"{name}.weight"] = raw
    step = torch.cat([(after[name] - before[name]).flatten() for name in before])
    # clip_grad_norm_ divides by the norm + 1e-6.
    assert float(step.norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.slow
def test_label_smoothing_mixes_the_loss_with_that_of_the_uniform_distribution(
    tmp_path: Path,
) -> None:
    # One step: L(s) = (1 - s) L(0) + s U is a straight line in s.
    losses = {}
    for smoothing in (0.0, 0.1, 0.2):
        recorder = Recorder()
        spec = classification(
            tmp_path / str(smoothing), batch_size=12, epochs=1, label_smoothing=smoothing
        )
        train(spec, recorder)
        losses[smoothing] = recorder.metrics[0]["train_loss"]

    rise = losses[0.1] - losses[0.0]
    assert rise != 0
    assert losses[0.2] - losses[0.0] == pytest.approx(2 * rise, rel=1e-9)


def test_label_smoothing_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"label_smoothing is 0.1, but denoising has no labels"):
        train(denoising(tmp_path, label_smoothing=0.1), Recorder())


@pytest.mark.parametrize(("amp", "expected"), [("none", "float32"), ("bfloat16", "bfloat16")])
def test_amp_computes_in_bfloat16_and_keeps_the_weights_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amp: str, expected: str
) -> None:
    dtypes = set()

    def data(spec: DataSpec, *, seed: int, device: torch.device) -> Task:
        task = load_task(spec, seed=seed, device=device)
        original = task.loss

        def loss(output: Tensor, target: Tensor, *, label_smoothing: float) -> Tensor:
            if output.requires_grad:  # not in validation
                dtypes.add(str(output.dtype))
            return original(output, target, label_smoothing=label_smoothing)

        monkeypatch.setattr(task, "loss", loss)
        return task

    monkeypatch.setattr(training, "load_task", data)

    train(classification(tmp_path, dtype="float32", amp=amp, epochs=1), Recorder())

    assert dtypes == {f"torch.{expected}"}
    weights = saved(tmp_path)["model"]
    assert {value.dtype for name, value in weights.items() if name.endswith("weight")} == {
        torch.float32
    }


def test_the_reports_hold_the_metrics_and_the_time_of_the_epoch(tmp_path: Path) -> None:
    recorder = Recorder()

    train(classification(tmp_path, epochs=1), recorder)

    (report,) = recorder.reports
    assert report.metrics.keys() == {"train_loss", "lr", "loss", "accuracy", "macro_f1"}
    assert report.epoch_s > 0
    assert json.loads(report.model_dump_json())["epoch"] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("make", [denoising, classification])
def test_a_run_on_the_gpu_follows_the_run_on_the_cpu(tmp_path: Path, make: Make) -> None:
    world = World(rank=0, size=1, device=torch.device("cuda", 0))
    cpu, gpu, resumed = Recorder(), Recorder({2: Verdict.STOP}), Recorder()
    train(make(tmp_path / "cpu"), cpu)

    train(make(tmp_path / "gpu"), gpu, world)
    result = train(make(tmp_path / "gpu"), resumed, world)

    assert result.ending == "complete"
    losses = [metrics["train_loss"] for metrics in gpu.metrics + resumed.metrics[1:]]
    assert losses == pytest.approx([metrics["train_loss"] for metrics in cpu.metrics], rel=1e-6)
