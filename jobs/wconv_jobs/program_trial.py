"""The definition of a trial that a program of the user's own trains, see `wconv_trial`.

Importing this module does not import torch.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, FiniteFloat

from wconv_jobs.spec import Option
from wconv_jobs.spec_base import Spec

RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"),
    *("GROUP_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES"),
    *("ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
    *("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_USE_AGENT_STORE"),
)
"""Environment variables that say which rank a process is, and which GPUs it has."""

REPORTS_FILE = "reports.jsonl"
"""Name of the file in a trial's folder that holds what the program has reported, a line each."""


class ProgramTrial(Spec):
    """Everything that the ranks need to run a program of the user's; no study, no database."""

    command: tuple[str, ...] = Field(strict=False, min_length=1)
    """Interpreter, program and arguments."""
    preload: tuple[str, ...] = Field(default=(), strict=False)
    """Modules that are loaded once, in a process that programs are forked from: with them,
    `command` is an interpreter and what follows it, without options of its own."""
    env: dict[str, str]
    """Variables of the program, beside those that say which rank it is."""
    options: dict[str, Option]
    """What the program gets as `trial[name]`."""
    metric: str
    """What each report must hold."""
    reports: Annotated[int, Field(ge=1)]
    """The last step that a complete run reports."""
    density: tuple[FiniteFloat, ...] = Field(strict=False, min_length=1)
    """Coefficients, outermost first."""
    seed: Annotated[int, Field(ge=0)]
    """The program's `trial.long_seed`."""
    threads_per_rank: Annotated[int, Field(ge=1)] = 1
    """CPU threads of each rank."""
    checkpoint_folder: Path = Field(strict=False)
    """Folder of the trial; the program's own is inside, see `program_folder`."""
    code_folder: Path | None = Field(default=None, strict=False)
    """Folder that the program runs in; null: its own."""
    deadline_s: FiniteFloat | None = None
    """Unix time from which on the program is asked to end at a checkpoint; null has no limit."""

    @property
    def program_folder(self) -> Path:
        """Folder for whatever the program writes."""
        return program_folder(self.checkpoint_folder)


def program_folder(trial_folder: Path) -> Path:
    """Return the folder of the program in the folder of a trial."""
    return trial_folder / "program"
