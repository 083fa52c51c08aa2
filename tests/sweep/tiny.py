"""A study small enough to be trained for real in seconds, and the command line run for real."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from wconv_sweep.cli import app as cli

TINY: dict[str, Any] = {
    "schema": 1,
    "study": "tiny",
    "kernel_size": 3,
    "model": {"name": "dncnn", "options": {"depth": 3, "width": 4, "norm": "none"}},
    "data": {"name": "photographs", "options": {"crop_px": 16, "crops_per_epoch": 16}},
    "recipe": {
        "optimizer": {"name": "adam", "lr": 0.003},
        "epochs": 2,
        "batch_size": 8,
        "dtype": "float64",
    },
    "objective": {"metric": "psnr_db"},
    "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}},
    "budget": {"trials": 3},
    "trial": {"ranks": 1},
}

StudyFile = Callable[..., Path]

ONE_LANE = Path(__file__).parent / "one_lane"
"""Configuration of a user whose profile `local` trains one trial at a time, on any machine."""


class Sweep:
    """The installed command, run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("WCONV_SWEEP_STORAGE", "OPTUNA_STORAGE", "PYTHONUNBUFFERED")
        } | {"COLUMNS": "200", "XDG_CONFIG_HOME": str(ONE_LANE)}

    def write_study(self, **sections: Any) -> Path:
        """Write the tiny study to a file, with some of its sections replaced; None leaves out."""
        path = self.folder / "tiny.yaml"
        content = {key: value for key, value in (TINY | sections).items() if value is not None}
        path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        return path

    def variable(self, name: str) -> str:
        """Return a variable of the user's shell."""
        return self._environment[name]

    def variables(self, **variables: str) -> None:
        """Set variables of the user's shell."""
        self._environment |= variables

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the command in a process group of its own, like a shell does."""
        return subprocess.Popen(
            [sys.executable, "-m", "wconv_sweep", *arguments],
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run the command to its end and return what it printed."""
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=300)
        assert process.returncode == status, (output, errors)
        return output if status == 0 else errors


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run the command in this process and return exit status, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["wconv-sweep", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    output, errors = capsys.readouterr()
    return int(exit_.value.code or 0), output, errors
