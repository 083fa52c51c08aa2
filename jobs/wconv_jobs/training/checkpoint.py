"""Checkpoints of one trial: written atomically, loaded without executing anything."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic_core import to_json
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from wconv_jobs.errors import CheckpointError
from wconv_jobs.files.atomic import replacing
from wconv_jobs.messages import Report
from wconv_jobs.spec import CHECKPOINT_FILE, SitesSpec, TrialSpec

FORMAT = 2
"""Version of the content of a checkpoint: version 1 had only whole epochs."""

_UNFINISHED = f".{CHECKPOINT_FILE}.*"
"""Names that checkpoints have until they are complete, see `wconv_jobs.files.atomic`."""


@dataclass(frozen=True)
class TrainingState:
    """Everything that training changes.

    The data order is not in here: it is a pure function of the seed and the epoch
    (`wconv_jobs.seeding`), so `Progress` stands for it.
    """

    model: nn.Module
    """Holds the effective weights V; the raw weights W travel in the optimizer's state."""
    optimizer: Optimizer
    scheduler: LRScheduler
    best: dict[str, Tensor] = field(default_factory=dict)
    """The state_dict of the best epoch, where early stopping asks for it."""


@dataclass
class Progress:
    """The progress of a run: some epochs, and some steps of the next."""

    reports: list[Report] = field(default_factory=list)
    """One for each finished epoch."""
    step: int = 0
    """Steps of the epoch after the last report."""
    loss_sums: list[float] = field(default_factory=list)
    """Sum of the losses of those steps on each rank: added up over ranks first, the mean would
    differ in the last place from that of a run without an interruption."""
    elapsed_s: float = 0.0
    """Wall time of those steps, seconds."""
    random: dict[str, Tensor] = field(default_factory=dict)
    """State of the random numbers of layers after those steps, by device type. Each epoch seeds
    them again, and all ranks have the same (`wconv_jobs.training.rank_invariance`)."""

    def note(self, step: int, loss_sums: list[float], elapsed_s: float, device: str) -> None:
        """Record the progress of the epoch, and the state of its random numbers."""
        self.step, self.loss_sums, self.elapsed_s = step, loss_sums, elapsed_s
        self.random = {"cpu": torch.get_rng_state()}
        if device == "cuda":
            self.random["cuda"] = torch.cuda.get_rng_state()

    def restore_random(self) -> None:
        """Continue with the random numbers of a started epoch."""
        torch.set_rng_state(self.random["cpu"])
        if "cuda" in self.random and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.random["cuda"])


def save(spec: TrialSpec, state: TrainingState, progress: Progress) -> None:
    """Replace the trial's checkpoint by one at `progress`.

    Readers see the old checkpoint or the new one, never a part of it, also after a power cut. One
    that stands further stays: an attempt that was frozen until its successor had the trial must
    not take back what that has done since.
    """
    folder = spec.checkpoint_folder
    if _is_behind(spec, progress):
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "trial": _digest(spec),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler.state_dict(),
        "best": state.best,
        "reports": [report.model_dump() for report in progress.reports],
        "step": progress.step,
        "loss_sums": progress.loss_sums,
        "elapsed_s": progress.elapsed_s,
        "random": progress.random,
    }
    # The attempt before may write it, too: it may not know yet that it has lost the trial.
    with replacing(folder / CHECKPOINT_FILE, durable=True) as file:
        torch.save(content, file)


def load(spec: TrialSpec, state: TrainingState) -> Progress:
    """Restore `state` in place and return how far it is; nothing to restore gives the start.

    Leftovers of an attempt that was killed while writing a checkpoint are removed.

    Raises:
        CheckpointError: the file cannot be read, or belongs to a trial with another specification.
    """
    for leftover in spec.checkpoint_folder.glob(_UNFINISHED):
        leftover.unlink(missing_ok=True)
    path = spec.checkpoint_folder / CHECKPOINT_FILE
    if not path.exists():
        return Progress()
    try:
        content = _read(spec)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. {_HINT}") from error
    try:
        state.model.load_state_dict(content["model"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.scheduler.load_state_dict(content["scheduler"])
        device = next(state.model.parameters()).device
        state.best.update({name: value.to(device) for name, value in content["best"].items()})
        return Progress(
            reports=[Report.model_validate(report) for report in content["reports"]],
            step=content["step"],
            loss_sums=content["loss_sums"],
            elapsed_s=content["elapsed_s"],
            random=content["random"],
        )
    except Exception as error:
        raise CheckpointError(
            f"{path}: the checkpoint was written by another version of the program "
            f"({type(error).__name__}: {error}). {_HINT}"
        ) from error


def load_weights(spec: TrialSpec) -> dict[str, Tensor]:
    """Return the state_dict of the network that a finished trial was tested with, on the CPU.

    Raises:
        CheckpointError: there is no checkpoint, or as `load`.
    """
    path = spec.checkpoint_folder / CHECKPOINT_FILE
    if not path.exists():
        raise CheckpointError(f"{path}: does not exist, but holds the trained weights")
    content = _read(spec)
    weights: dict[str, Tensor] = content["best"] or content["model"]
    return weights


def _is_behind(spec: TrialSpec, progress: Progress) -> bool:
    """Return whether a usable checkpoint of this trial is further on."""
    if not (spec.checkpoint_folder / CHECKPOINT_FILE).exists():
        return False
    try:
        there = _read(spec, mapped=True)
    except CheckpointError:
        return False
    stands = len(there["reports"]), there["step"]
    return bool(stands > (len(progress.reports), progress.step))


def _read(spec: TrialSpec, *, mapped: bool = False) -> dict[str, Any]:
    """Return the content of a checkpoint; with `mapped`, the tensors stay in the file."""
    path = spec.checkpoint_folder / CHECKPOINT_FILE
    try:
        # On the CPU: the states below move what belongs to the model's device, and nothing else.
        content: dict[str, Any] = torch.load(
            path, map_location="cpu", weights_only=True, mmap=mapped
        )
        version, trial = content.get("format", 1), content["trial"]
    except Exception as error:
        # Without the text: torch's ends with advice on how to execute what it refused to.
        raise CheckpointError(
            f"{path}: the checkpoint cannot be read ({type(error).__name__})"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: the checkpoint was written by another version of the program (its format is "
            f"{version}, this one reads {FORMAT})",
            "another version",
        )
    if trial != _digest(spec):
        raise CheckpointError(
            f"{path}: the checkpoint belongs to a trial with another model, data, recipe, density "
            "or seed",
            "another trial",
        )
    return content


_HINT = "Delete it to train this trial from the start."


def _digest(spec: TrialSpec) -> str:
    """Identify the training, without its location, deadline, threads and checkpoint interval."""
    where_and_when = {"checkpoint_folder", "checkpoint_every_s", "code_folder", "deadline_s"}
    content = spec.model_dump(mode="json", exclude={*where_and_when, "threads_per_rank"})
    if spec.sites == SitesSpec():
        del content["sites"]  # younger than FORMAT 2
    content["recipe"] = spec.recipe.plain()
    content["recipe"].pop("memory_format", None)
    if spec.memory_format != "contiguous":  # all was, when FORMAT 2 began
        content["recipe"]["memory_format"] = spec.memory_format
    schedule = spec.recipe.lr_schedule
    # As they were called when FORMAT 2 began: its checkpoints stay those of their trials.
    old = {"batch_size": "batch", "lr_schedule": "schedule"}
    recipe = {old.get(key, key): value for key, value in content["recipe"].items()}
    if not schedule.options:
        recipe["schedule"] = schedule.name
    return hashlib.sha256(to_json(content | {"recipe": recipe})).hexdigest()
