"""A run that ends at a checkpoint after any step goes on as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.trials import Recorder, classification, denoising, same_state, saved
from wconv_jobs.spec import EarlyStoppingSpec, ModelSpec, TrialSpec
from wconv_jobs.training import train

Make = Callable[..., TrialSpec]


def dropping(folder: Path, **recipe: Any) -> TrialSpec:
    """Dropout and BatchNorm, with early stopping after an epoch that is not the best."""
    rule = EarlyStoppingSpec(patience=1, min_delta=0.0)
    spec = classification(folder, epochs=4, early_stopping=rule, **recipe)
    model = ModelSpec(name="nin", options={"num_classes": 4, "width": 0.05})
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
