"""Checkpoints: old or new but never half, of this trial only, and never executed."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from tests.jobs.trials import Recorder, denoising, same_state, saved
from wconv_jobs.errors import CheckpointError
from wconv_jobs.messages import Report, Verdict
from wconv_jobs.spec import SitesSpec, TrialSpec
from wconv_jobs.training.loop import train


def _stopped_after_1(folder: Path) -> None:
    train(denoising(folder), Recorder({1: Verdict.STOP}))


def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: object, file: IO[bytes]) -> None:
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    _stopped_after_1(tmp_path)
    before = saved(tmp_path)
    monkeypatch.setattr(torch, "save", full_disk)

    with pytest.raises(OSError, match="No space left"):
        train(denoising(tmp_path), Recorder())

    assert same_state(saved(tmp_path), before)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


_KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
import torch
from tests.jobs.trials import Recorder, denoising
from wconv_jobs.training.loop import train

def save(content, file):
    file.write(b"half a checkpoint")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = save
train(denoising(Path(sys.argv[1])), Recorder())
"""


@pytest.mark.slow
def test_a_run_killed_while_it_saves_is_resumed_from_the_old_checkpoint_and_tidied_up(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    whole, resumed = Recorder(), Recorder()
    train(denoising(tmp_path / "whole"), whole)
    parts = tmp_path / "parts"
    _stopped_after_1(parts)

    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_WHILE_SAVING, str(parts)], cwd=pytestconfig.rootpath
    )
    left = len(list(parts.iterdir()))
    train(denoising(parts), resumed)

    assert (killed.returncode, left) == (-signal.SIGKILL, 2)
    assert resumed.metrics == whole.metrics
    assert {path.name for path in parts.iterdir()} == {"checkpoint.pt", "test_image_1.png"}


@pytest.mark.slow
def test_a_checkpoint_is_replaced_by_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped_after_1(tmp_path)
    reader = (tmp_path / "checkpoint.pt").open("rb")

    train(denoising(tmp_path), Recorder())

    # Who had opened the old one still reads all of it.
    with reader:
        assert len(torch.load(reader, weights_only=True)["reports"]) == 1
    assert len(saved(tmp_path)["reports"]) == 3


def test_an_attempt_that_wakes_up_late_takes_nothing_back(tmp_path: Path) -> None:
    class Overtaken(Recorder):
        """Hears of the first epoch while another attempt trains the trial to its end."""

        def __call__(self, report: Report) -> Verdict:
            if report.epoch == 1:
                train(denoising(tmp_path), Recorder())
            return super().__call__(report)

    train(denoising(tmp_path), Overtaken({2: Verdict.STOP}))

    assert len(saved(tmp_path)["reports"]) == 3


def test_the_checkpoint_of_another_trial_is_refused(tmp_path: Path) -> None:
    _stopped_after_1(tmp_path)

    with pytest.raises(CheckpointError, match=r"to a trial with another .*density.* Delete it"):
        train(denoising(tmp_path, density=(0.8,)), Recorder())


@pytest.mark.slow
def test_the_checkpoint_of_a_trial_with_other_sites_is_refused(tmp_path: Path) -> None:
    spec = denoising(tmp_path)
    train(spec, Recorder({1: Verdict.STOP}))
    other = spec.model_copy(update={"sites": SitesSpec(exclude=["layers.0"])})

    with pytest.raises(CheckpointError, match="another model, data, recipe, density"):
        train(other, Recorder())


def test_a_trial_that_moved_and_got_another_deadline_resumes(tmp_path: Path) -> None:
    _stopped_after_1(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    resumed = Recorder()

    train(denoising(tmp_path / "new", deadline_s=1e12), resumed)

    assert resumed.epochs == [1, 2, 3]


class _Malicious:
    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._folder,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_checkpoint_is_never_executed(tmp_path: Path, form: str) -> None:
    path, executed = tmp_path / "checkpoint.pt", tmp_path / "executed"
    content = {"trial": _Malicious(executed)}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))

    with pytest.raises(CheckpointError, match="cannot be read") as refused:
        train(denoising(tmp_path), Recorder())

    assert not executed.exists()
    assert "weights_only" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
@pytest.mark.slow
def test_an_unreadable_checkpoint_is_refused_and_the_message_says_what_to_delete(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "checkpoint.pt"
    _stopped_after_1(tmp_path)
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)

    with pytest.raises(CheckpointError) as refused:
        train(denoising(tmp_path), Recorder())

    assert str(path) in str(refused.value)
    assert str(refused.value).endswith("Delete it to train this trial from the start.")


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"layers.0.weight": torch.zeros(3)}, tmp_path / "checkpoint.pt")

    with pytest.raises(CheckpointError, match=r"cannot be read \(KeyError\)"):
        train(denoising(tmp_path), Recorder())


def test_a_checkpoint_that_no_longer_fits_the_program_is_refused(tmp_path: Path) -> None:
    _stopped_after_1(tmp_path)
    content = saved(tmp_path)
    del content["model"]["layers.0.weight"]
    torch.save(content, tmp_path / "checkpoint.pt")

    with pytest.raises(CheckpointError, match="was written by another version of the program"):
        train(denoising(tmp_path), Recorder())


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    _stopped_after_1(tmp_path)
    content = saved(tmp_path)
    del content["format"]
    torch.save(content, tmp_path / "checkpoint.pt")

    with pytest.raises(CheckpointError, match=r"its format is 1, this one reads 2\). Delete it"):
        train(denoising(tmp_path), Recorder())


# Of the same trials, as the program called them at FORMAT 2, when it began.
DIGESTS = {
    "constant": "c759e439fa1fc1538415c7d762a59a8557534b4ec3380b439ef38bf27c21a073",
    "cosine": "38590f0c48ce53ab93068790ad189f2e03989f1c6da0c691f15ba048469ac4a8",
}


@pytest.mark.parametrize("lr_schedule", DIGESTS)
def test_a_checkpoint_from_before_a_key_was_renamed_is_still_that_of_its_trial(
    tmp_path: Path, lr_schedule: str
) -> None:
    def spec(**changes: Any) -> TrialSpec:
        return denoising(tmp_path, norm="batch", lr_schedule=lr_schedule, **changes)

    train(spec(), Recorder({1: Verdict.STOP}))

    assert saved(tmp_path)["trial"] == DIGESTS[lr_schedule]
    warm = denoising(tmp_path, lr_schedule={"name": lr_schedule, "warmup_epochs": 1})
    for other in (spec(batch_size=2), warm):
        with pytest.raises(CheckpointError, match="belongs to a trial with another"):
            train(other, Recorder())
