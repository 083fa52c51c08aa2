"""The folder of a study's files: checkpoints, logs and pilots, one folder per study."""

import os
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.errors import ConfigurationError

DEFAULT_RUNS = Path("wconv_runs")
_OWNER = "study_id"


def studies_in(runs: Path) -> list[str]:
    """Return the names of the studies with a folder in the folder of all runs."""
    return sorted(path.parent.name for path in runs.glob(f"*/{_OWNER}"))


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder is that of a study."""
    return (folder / _OWNER).is_file()


@dataclass(frozen=True)
class RunFolder:
    """The folder of one study inside the folder of all runs."""

    path: Path

    @classmethod
    def of(cls, runs: Path, study: str) -> "RunFolder":
        """Return the folder of a study."""
        return cls(runs.resolve() / study)

    def check_free(self, uid: str | None) -> None:
        """Raise `ConfigurationError` if the folder is unusable, or not that of study `uid`.

        Args:
            uid: of the study; None for one that is still to be created.
        """
        # Not path.exists(), which fails in a folder that may not be entered.
        nearest = next(path for path in (self.path, *self.path.parents) if os.path.exists(path))
        if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
            raise ConfigurationError(
                f"{self.path}: cannot be created, because {nearest} is not a folder that you may "
                "write to. Choose another one with --runs."
            )
        try:
            owner = (self.path / _OWNER).read_text("utf-8").strip()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: cannot be used ({error.strerror}). Choose another folder with "
                "--runs."
            ) from error
        if owner != uid:
            raise ConfigurationError(
                f"{self.path}: holds the files of a study in another storage, or in one that was "
                "deleted. Remove this folder, or choose another one with --runs."
            )

    def create(self, uid: str) -> None:
        """Create the folder, after `check_free`, with the mark of its study."""
        self.pilots.mkdir(parents=True, exist_ok=True)
        (self.path / _OWNER).write_text(f"{uid}\n", "utf-8")

    @property
    def pilots(self) -> Path:
        """Orders, locks and logs of pilots."""
        return self.path / "pilots"

    @property
    def code(self) -> Path:
        """The program as it was launched, see `wconv_sweep.launching.code_snapshot`."""
        return self.path / "code"

    @property
    def spools(self) -> Path:
        """Messages of agents that wait for the storage, see `wconv_sweep.pilots.spool`."""
        return self.path / "spools"

    def trial(self, trial: int) -> Path:
        """Return the folder of a trial: checkpoint and logs of all its attempts."""
        return self.path / f"trial_{trial:05d}"

    def attempt_logs(self, trial: int, attempt: int) -> Path:
        """Return the folder of the output of an attempt's ranks."""
        return self.trial(trial) / f"attempt_{attempt}"
