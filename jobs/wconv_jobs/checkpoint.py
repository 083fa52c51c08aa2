"""Checkpoints of one trial: written atomically, loaded without executing anything."""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from wconv_jobs.channel import Report
from wconv_jobs.errors import CheckpointError
from wconv_jobs.spec import CHECKPOINT_FILE, TrialSpec

_TEMPORARY = f".{CHECKPOINT_FILE}."


@dataclass(frozen=True)
class TrainingState:
    """Everything that training changes.

    Random numbers and the data order are not in here: both are pure functions of the seed and the
    epoch (`wconv_jobs.seeding`), so the number of finished epochs stands for them.
    """

    model: nn.Module
    """Holds the effective weights V; the raw weights W travel in the optimizer's state."""
    optimizer: Optimizer
    scheduler: LRScheduler
    best: dict[str, Tensor] = field(default_factory=dict)
    """The state_dict of the best epoch, where early stopping asks for it."""


def save(spec: TrialSpec, state: TrainingState, reports: list[Report]) -> None:
    """Replace the trial's checkpoint by one that stands after the last of `reports`.

    Readers see the old checkpoint or the new one, never a part of it, also after a power cut.
    """
    folder = spec.checkpoint_folder
    folder.mkdir(parents=True, exist_ok=True)
    # Unique, since the attempt before may not know yet that it has lost the trial.
    temporary = folder / f"{_TEMPORARY}{secrets.token_hex(4)}"
    content = {
        "trial": _digest(spec),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler.state_dict(),
        "best": state.best,
        "reports": [report.model_dump() for report in reports],
    }
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / CHECKPOINT_FILE)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(folder)


def load(spec: TrialSpec, state: TrainingState) -> list[Report]:
    """Restore `state` in place and return the reports so far; nothing to restore gives [].

    What an attempt left behind that was killed while it wrote a checkpoint is removed.

    Raises:
        CheckpointError: the file cannot be read, or belongs to a trial with another specification.
    """
    for leftover in spec.checkpoint_folder.glob(f"{_TEMPORARY}*"):
        leftover.unlink(missing_ok=True)
    path = spec.checkpoint_folder / CHECKPOINT_FILE
    if not path.exists():
        return []
    try:
        # On the CPU: the states below move what belongs to the model's device, and nothing else.
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        trial = content["trial"]
    except Exception as error:
        # Without the text: torch's ends with advice on how to execute what it refused to.
        raise CheckpointError(
            f"{path}: the checkpoint cannot be read ({type(error).__name__}). {_HINT}"
        ) from error
    if trial != _digest(spec):
        raise CheckpointError(
            f"{path}: the checkpoint belongs to a trial with another model, data, recipe, density "
            f"or seed. {_HINT}"
        )
    try:
        state.model.load_state_dict(content["model"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.scheduler.load_state_dict(content["scheduler"])
        device = next(state.model.parameters()).device
        state.best.update({name: value.to(device) for name, value in content["best"].items()})
        return [Report.model_validate(report) for report in content["reports"]]
    except Exception as error:
        raise CheckpointError(
            f"{path}: the checkpoint was written by another version of the program "
            f"({type(error).__name__}: {error}). {_HINT}"
        ) from error


_HINT = "Delete it to train this trial from the start."


def _digest(spec: TrialSpec) -> str:
    """Identify what is trained, leaving out where, until when and on how many threads."""
    text = spec.model_dump_json(
        exclude={"checkpoint_folder", "code_folder", "deadline_s", "threads_per_rank"}
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
