"""Small trials that the tests of the training run share."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from wconv_jobs.messages import Report, Verdict
from wconv_jobs.recipe.optimizer import AdamSpec, SgdSpec
from wconv_jobs.spec import DataSpec, ModelSpec, RecipeSpec, TrialSpec


def denoising(
    folder: Path,
    *,
    norm: Literal["batch", "none"] = "batch",
    density: tuple[float, ...] = (0.7,),
    replicate: int = 0,
    study_seed: int = 3,
    deadline_s: float | None = None,
    crops_per_epoch: int = 8,
    **recipe: Any,
) -> TrialSpec:
    """Two steps of Adam an epoch on four crops each; one picture to validate."""
    defaults = {"optimizer": AdamSpec(name="adam", lr=0.01), "epochs": 3, "batch_size": 4}
    return TrialSpec(
        model=ModelSpec(name="dncnn", options={"depth": 3, "width": 2, "norm": norm}),
        data=DataSpec(
            name="photographs", options={"crop_px": 12, "crops_per_epoch": crops_per_epoch}
        ),
        recipe=RecipeSpec(**{**defaults, "dtype": "float64", **recipe}),
        density=density,
        study_seed=study_seed,
        replicate=replicate,
        checkpoint_folder=folder,
        deadline_s=deadline_s,
    )


def classification(folder: Path, density: tuple[float, ...] = (0.7,), **recipe: Any) -> TrialSpec:
    """Three steps of SGD an epoch on four patches each; 47 patches to validate."""
    defaults = {
        "optimizer": SgdSpec(name="sgd", lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        "epochs": 3,
        "batch_size": 4,
        "label_smoothing": 0.1,
        "dtype": "float64",
    }
    return TrialSpec(
        model=ModelSpec(name="tiny", options={"num_classes": 4}),
        data=DataSpec(name="textures", options={"patch_px": 52, "patches_per_class": 3}),
        recipe=RecipeSpec(**{**defaults, **recipe}),
        density=density,
        study_seed=5,
        checkpoint_folder=folder,
    )


@dataclass
class Recorder:
    """An agent that keeps the reports and answers with `verdicts`, by epoch."""

    verdicts: dict[int, Verdict] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)

    def __call__(self, report: Report) -> Verdict:
        self.reports.append(report)
        return self.verdicts.get(report.epoch, Verdict.CONTINUE)

    @property
    def epochs(self) -> list[int]:
        """Epochs of the reports, in the order of their arrival."""
        return [report.epoch for report in self.reports]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Metrics of the reports, in the order of their arrival."""
        return [report.metrics for report in self.reports]


def saved(folder: Path) -> dict[str, Any]:
    """The content of a trial's checkpoint."""
    content: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
    return content


def same_state(one: object, other: object) -> bool:
    """Whether two checkpoints hold bitwise the same, wall times aside."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() - {"epoch_s", "steady"}
        return keys == other.keys() - {"epoch_s", "steady"} and all(
            same_state(one[key], other[key]) for key in keys
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_state, one, other))
    return one == other


def wait_until(condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Return as soon as the condition holds; fail after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        threading.Event().wait(0.02)


@dataclass(frozen=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    started: int
    state: str
    command: str


def processes() -> list[Process]:
    """The processes of this machine that are not mere entries of the dead."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(
            Process(int(folder.name), int(fields[1]), int(fields[19]), fields[0], command)
        )
    return [process for process in found if process.state not in "ZX"]


def fork_server_of(agent: int) -> int | None:
    """Process number of the fork server that an agent has started."""
    return next(
        (
            process.pid
            for process in processes()
            if process.parent == agent and "multiprocessing.forkserver" in process.command
        ),
        None,
    )


def ranks_of(agent: int) -> list[int]:
    """Process numbers of an agent's ranks in the order of their start, rank 0 first."""
    server = fork_server_of(agent)
    ranks = [process for process in processes() if process.parent == server]
    return [process.pid for process in sorted(ranks, key=lambda p: (p.started, p.pid))]


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely unburied."""
    return pid in [process.pid for process in processes()]
