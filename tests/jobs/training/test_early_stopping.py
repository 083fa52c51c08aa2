"""Early stopping: when training ends, and whose weights are tested."""

import math
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from tests.jobs.trials import Recorder, denoising, same_state, saved
from wconv_jobs.data import load_data
from wconv_jobs.messages import Verdict
from wconv_jobs.models import build_model
from wconv_jobs.seeding import derive_seed
from wconv_jobs.spec import EarlyStoppingSpec, TrialSpec
from wconv_jobs.tasks.task import Part, Task
from wconv_jobs.training import evaluation
from wconv_jobs.training import loop as training
from wconv_jobs.training.early_stopping import best_epoch, is_over
from wconv_jobs.training.loop import LONE_PROCESS, train
from wconv_jobs.training.world import World


@pytest.mark.parametrize(
    ("losses", "min_delta", "best"),
    [
        ([3.0], 0.0, 1),
        ([3.0, 2.0, 2.5], 0.0, 2),
        ([3.0, 2.0, 2.0], 0.0, 2),  # equal is no fall
        ([3.0, 2.9, 2.8, 2.4], 0.5, 4),  # 2.9 and 2.8 are no fall by more than 0.5, 2.4 is
        ([1.0, 2.0, 1.5], 0.0, 1),
    ],
)
def test_the_best_epoch_is_the_last_that_fell_by_more_than_min_delta(
    losses: list[float], min_delta: float, best: int
) -> None:
    assert best_epoch(losses, EarlyStoppingSpec(patience=9, min_delta=min_delta)) == best


def test_training_is_over_once_patience_epochs_have_passed_since_the_best() -> None:
    rule = EarlyStoppingSpec(patience=2)

    over = [is_over([3.0, 2.0, 2.5, 2.4][:epochs], rule) for epochs in range(5)]

    assert over == [False, False, False, False, True]


def test_without_a_rule_the_last_epoch_counts_and_nothing_is_over() -> None:
    assert best_epoch([1.0, 2.0, 3.0], None) == 3
    assert not is_over([1.0, 2.0, 3.0], None)


def _stopping(folder: Path, patience: int = 2) -> TrialSpec:
    return denoising(folder, epochs=6, early_stopping=EarlyStoppingSpec(patience=patience))


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Validation losses that a test prescribes; all else is evaluated as ever."""
    prescribed: list[float] = []
    original = evaluation.evaluate
    number = 0

    def evaluate(
        model: nn.Module, task: Task, part: Part, world: World, *further: Any, **options: Any
    ) -> dict[str, float]:
        nonlocal number
        metrics = original(model, task, part, world, *further, **options)
        if part == "validation":
            metrics["loss"] = prescribed[number]
            number += 1
        return metrics

    monkeypatch.setattr(training, "evaluate", evaluate)
    return prescribed


def _test_metrics(folder: Path, weights: dict[str, Tensor]) -> dict[str, float]:
    """Evaluate weights on the test set of the trials of this file."""
    spec = _stopping(folder)
    seed = derive_seed(spec.study_seed, spec.replicate)
    task = load_data(spec.data.name, seed=seed, device="cpu", **spec.data.options)
    model = build_model(spec.model.name, **spec.model.options).double()
    model.load_state_dict(weights)
    return evaluation.evaluate(model, task, "test", LONE_PROCESS)


@pytest.mark.slow
def test_the_weights_of_the_best_epoch_are_tested(tmp_path: Path, losses: list[float]) -> None:
    losses += [3.0, 2.0, 2.5, 2.4]
    recorder = Recorder()
    whole = train(denoising(tmp_path / "whole", epochs=6), Recorder({2: Verdict.STOP}))
    assert whole.ending == "stopped"
    expected = saved(tmp_path / "whole")["model"]
    losses[:] = [math.nan, math.nan, 3.0, 2.0, 2.5, 2.4]

    result = train(_stopping(tmp_path / "trial"), recorder)

    assert result.ending == "complete"
    assert recorder.epochs == [1, 2, 3, 4]
    assert (result.metrics["best_epoch"], result.metrics["stopped_epoch"]) == (2, 4)
    assert result.metrics["psnr_db"] == recorder.metrics[1]["psnr_db"]
    assert result.metrics["lr"] == recorder.metrics[3]["lr"]
    kept = saved(tmp_path / "trial")
    assert same_state(kept["best"], expected)
    of_best, of_last = (_test_metrics(tmp_path, kept[key]) for key in ("best", "model"))
    assert {name: result.metrics[f"test_{name}"] for name in of_best} == of_best != of_last


@pytest.mark.slow
def test_an_interrupted_run_remembers_the_best_epoch(tmp_path: Path, losses: list[float]) -> None:
    losses += [2.0, 3.0, 2.5] * 2
    whole = train(_stopping(tmp_path / "whole"), Recorder())

    train(_stopping(tmp_path / "parts"), Recorder({2: Verdict.STOP}))
    resumed = train(_stopping(tmp_path / "parts"), Recorder())

    assert resumed.metrics == whole.metrics
    assert resumed.metrics["best_epoch"] == 1
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.slow
def test_without_early_stopping_no_second_set_of_weights_is_kept(tmp_path: Path) -> None:
    result = train(denoising(tmp_path), Recorder())

    assert saved(tmp_path)["best"] == {}
    assert (result.metrics["best_epoch"], result.metrics["stopped_epoch"]) == (3, 3)
    assert result.metrics["lr"] == pytest.approx(0.0, abs=1e-15)
