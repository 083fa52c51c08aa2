"""The speed of a trial is measured with its own steps and validation, and nothing is written."""

from pathlib import Path

import pytest
from torch import Tensor

from tests.jobs.trials import classification
from wconv_jobs.errors import JobError
from wconv_jobs.training.loop import Run
from wconv_jobs.training.speed import WARM_UP_STEPS, measure


def test_steps_and_validation_are_timed_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, int]] = []
    step = Run.train_step

    def noted(run: Run, epoch: int, number: int) -> Tensor:
        taken.append((epoch, number))
        return step(run, epoch, number)

    monkeypatch.setattr(Run, "train_step", noted)
    begun: list[int] = []
    spec = classification(tmp_path / "trial")

    speed = measure(spec, 0.05, lambda: begun.append(len(taken)))

    assert begun == [WARM_UP_STEPS]
    assert speed.steps == len(taken) - WARM_UP_STEPS >= 1
    assert taken[WARM_UP_STEPS:][:4] == [
        divmod(number, int(speed.steps_per_epoch)) for number in range(min(4, int(speed.steps)))
    ]
    assert speed.training_s >= 0.05
    assert speed.validation_s > 0
    assert speed.rank_memory_bytes > 2**20
    assert not (tmp_path / "trial").exists()


def test_a_trial_that_cannot_be_trained_says_why(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="batch_size"):
        measure(classification(tmp_path, batch_size=1000), 0.05, lambda: None)
