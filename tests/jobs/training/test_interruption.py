"""A run that ends at a checkpoint after any step goes on as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.jobs.trials import Recorder, classification, denoising, same_state, saved
from wconv_jobs.messages import Demand, Finished
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import run_ranks
from wconv_jobs.spec import EarlyStoppingSpec, ModelSpec, TrialSpec
from wconv_jobs.training import checkpoint
from wconv_jobs.training.checkpoint import Progress, TrainingState
from wconv_jobs.training.loop import train

Make = Callable[..., TrialSpec]


def dropping(folder: Path, **recipe: Any) -> TrialSpec:
    """Dropout and BatchNorm, with early stopping after an epoch that is not the best."""
    rule = EarlyStoppingSpec(patience=1, min_delta=0.0)
    spec = classification(folder, epochs=4, early_stopping=rule, **recipe)
    model = ModelSpec(name="nin", options={"num_classes": 4, "width": 6, "batch_norm": True})
    return spec.model_copy(update={"model": model})


def _demanded_at(question: int) -> Callable[[], bool]:
    """An agent that wants a checkpoint from the question of this number on."""
    asked = 0

    def demanded() -> bool:
        nonlocal asked
        asked += 1
        return asked >= question

    return demanded


@pytest.mark.slow
@pytest.mark.parametrize("make", [denoising, classification, dropping])
def test_a_run_that_is_stopped_at_any_moment_and_resumed_ends_bitwise_like_one_that_is_not(
    tmp_path: Path, make: Make
) -> None:
    whole = Recorder()
    expected = train(make(tmp_path / "whole"), whole)

    interrupted = 0
    while True:
        folder, first, second = tmp_path / str(interrupted), Recorder(), Recorder()
        # After each step, before each batch of an evaluation, and after each report.
        stopped = train(make(folder), first, demanded=_demanded_at(interrupted + 1))
        if stopped.ending == "complete":
            break
        interrupted += 1
        resumed = train(make(folder), second)

        assert (stopped.ending, resumed.ending) == ("stopped", "complete")
        assert resumed.metrics == expected.metrics
        assert [report.metrics for report in resumed.reports] == whole.metrics
        assert second.epochs[0] == (first.epochs or [1])[-1]
        assert same_state(saved(folder), saved(tmp_path / "whole"))

    steps, epochs = (2, 3) if make is denoising else (3, len(whole.epochs))
    assert interrupted > steps * epochs + 2 * epochs


@pytest.mark.slow
def test_two_ranks_stopped_in_the_middle_of_epochs_end_bitwise_like_two_that_are_not(
    tmp_path: Path,
) -> None:
    def run(folder: Path, deadline_s: float | None) -> Finished:
        spec = dropping(folder).model_copy(update={"deadline_s": deadline_s})
        result = run_ranks(
            spec,
            placement=Placement(2),
            log_folder=tmp_path / "logs",
            on_report=Recorder(),
            on_tick=lambda: Demand.GO,
        )
        assert isinstance(result, Finished)
        return result

    expected = run(tmp_path / "whole", None)

    # Late from the start: each attempt takes the first step, after which the ranks ask.
    first = run(tmp_path / "parts", 0.0)
    step_1 = saved(tmp_path / "parts")
    second = run(tmp_path / "parts", 0.0)
    step_2 = saved(tmp_path / "parts")
    resumed = run(tmp_path / "parts", None)

    assert (first.ending, second.ending, resumed.ending) == ("stopped", "stopped", "complete")
    assert [(len(part["reports"]), part["step"]) for part in (step_1, step_2)] == [(0, 1), (0, 2)]
    assert len(step_2["loss_sums"]) == 2
    del expected.metrics["epoch_s"], resumed.metrics["epoch_s"]
    assert resumed.metrics == expected.metrics
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.slow
def test_a_demand_reaches_ranks_within_an_epoch_that_takes_for_ever(tmp_path: Path) -> None:
    spec = denoising(tmp_path / "trial", crops_per_epoch=10_000_000, epochs=1)
    demanded = False

    def tick() -> Demand:
        nonlocal demanded
        # The first checkpoint of an endless epoch: that of the time.
        demanded = demanded or (tmp_path / "trial" / "checkpoint.pt").exists()
        return Demand.CHECKPOINT if demanded else Demand.GO

    result = run_ranks(
        spec.model_copy(update={"checkpoint_every_s": 0.1}),
        placement=Placement(2),
        log_folder=tmp_path / "logs",
        on_report=Recorder(),
        on_tick=tick,
    )

    assert isinstance(result, Finished)
    assert (result.ending, result.epoch) == ("stopped", 0)
    content = saved(tmp_path / "trial")
    assert content["reports"] == []
    assert content["step"] > 1


def test_a_checkpoint_that_is_old_is_replaced_within_the_epoch_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    save = checkpoint.save

    def noting(spec: TrialSpec, state: TrainingState, progress: Progress) -> None:
        steps.append((len(progress.reports), progress.step))
        save(spec, state, progress)

    monkeypatch.setattr(checkpoint, "save", noting)
    often = classification(tmp_path, epochs=1).model_copy(update={"checkpoint_every_s": 1e-9})

    train(often, Recorder())
    train(classification(tmp_path / "seldom", epochs=1), Recorder())

    assert steps == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 0)]


class _Killed(BaseException):
    """What a test raises where a real run would be killed."""


@pytest.mark.slow
def test_a_run_that_is_killed_after_a_checkpoint_within_an_epoch_goes_on_from_there(
    tmp_path: Path,
) -> None:
    asked = 0

    def killed_at_step_3() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise _Killed
        return False

    often = classification(tmp_path / "parts").model_copy(update={"checkpoint_every_s": 1e-9})
    expected = train(classification(tmp_path / "whole"), Recorder())

    with pytest.raises(_Killed):
        train(often, Recorder(), demanded=killed_at_step_3)
    left = saved(tmp_path / "parts")["step"]
    resumed = train(classification(tmp_path / "parts"), Recorder())

    assert left == 2
    assert resumed.metrics == expected.metrics
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.slow
def test_the_losses_of_an_interrupted_epoch_count_the_same_on_another_number_of_ranks(
    tmp_path: Path,
) -> None:
    whole, resumed = Recorder(), Recorder()
    train(classification(tmp_path / "whole", epochs=1), whole)
    train(classification(tmp_path / "parts", epochs=1), Recorder(), demanded=_demanded_at(2))
    content = saved(tmp_path / "parts")
    # As two ranks would have left it: each has the mean loss of its half of the batch.
    (total,) = content["loss_sums"]
    content["loss_sums"] = [total - 0.5, total + 0.5]
    torch.save(content, tmp_path / "parts" / "checkpoint.pt")

    train(classification(tmp_path / "parts", epochs=1), resumed)

    assert resumed.metrics[0]["train_loss"] == pytest.approx(
        whole.metrics[0]["train_loss"], rel=1e-12
    )
