"""Where a study's files lie: checkpoints, logs and pilots, one folder a study."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_RUNS = Path("wconv_runs")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one study inside the folder of all runs."""

    path: Path

    @classmethod
    def of(cls, runs: Path, study: str) -> "RunFolder":
        """Return the folder of a study."""
        return cls(runs.absolute() / study)

    @property
    def pilots(self) -> Path:
        """Orders, locks and logs of pilots."""
        return self.path / "pilots"

    def trial(self, trial: int) -> Path:
        """Return the folder of a trial: checkpoint and logs of all its attempts."""
        return self.path / f"trial_{trial:05d}"

    def attempt_logs(self, trial: int, attempt: int) -> Path:
        """Return the folder of what the ranks of an attempt print."""
        return self.trial(trial) / f"attempt_{attempt}"
