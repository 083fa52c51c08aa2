"""Studies on the test cluster, launched by the installed command, with a real database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.slurm.box import Queued, SlurmBox
from tests.sweep.postgres import Server
from tests.sweep.tiny import TINY, Sweep
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.storage.open_storage import Storage, choose_url, open_storage

Answer = TypeVar("Answer")

_OWN_DATA = Path(__file__).parent / "own_data"
_OWN_PROGRAM = Path(__file__).parent / "own_program"


def slow_data(batch_s: float = 0.0) -> dict[str, Any]:
    """Return the sections of a study whose epochs of four batches take time, but little work."""
    options = {"batch_s": batch_s}
    return {
        "code": str(_OWN_DATA),
        "data": {"name": "slow_images:load", "kind": "denoising", "options": options},
    }


def slow_program(batch_s: float, epochs: int) -> dict[str, Any]:
    """Return the sections of a study whose trials a program trains, see tests/slurm/own_program.

    Its epochs have four batches.
    """
    return {
        **dict.fromkeys(("model", "data", "recipe")),
        "code": str(_OWN_PROGRAM),
        "trainer": {"program": "train.py", "options": {"batch_s": batch_s}, "reports": epochs},
        "objective": {"metric": "score", "goal": "maximize"},
    }


def scores(density: tuple[float, ...], seed: int, epochs: int) -> list[float]:
    """Return what that program reports, epoch by epoch."""
    value, found = seed % 1000 / 1000, []
    for _ in range(epochs):
        for _ in range(4):
            value = (value * 1.7 + density[0]) % 1.0
        found.append(value)
    return found


LONG: dict[str, Any] = {
    "recipe": TINY["recipe"] | {"epochs": 5000},
    "budget": {"trials": 40},
} | slow_data(batch_s=0.25)
"""Sections of a study that does not end by itself."""


class SlurmSweep(Sweep):
    """The installed command in a folder of its own, with a profile of the test cluster."""

    def __init__(self, folder: Path, box: SlurmBox, server: Server) -> None:
        super().__init__(folder)
        self.box = box
        self._storage: Storage | None = None
        database = server.database().database
        assert database is not None
        # A name that leads to the server from every node, as a server's name on a real site does.
        url = server.url(database, host=box.nodes[0]).render_as_string()
        self._environment = {
            name: text
            for name, text in self._environment.items()
            if not name.startswith(("SLURM_", "SBATCH_"))
        } | {"SLURM_CONF": str(box.site.slurm_conf), "WCONV_SWEEP_STORAGE": url}
        self.profile(gpus_used_per_node=1)

    def profile(self, **keys: Any) -> Path:
        """Write the profile `box.yaml`, with some of its keys replaced."""
        path = self.folder / "box.yaml"
        facts = {
            "schema": 1,
            "cluster": "box",
            "launcher": "slurm",
            "account": self.box.site.account,
            "partition": {"default": "gpu"},
            "gpus_per_node": 4,
            "cpus_per_node": 32,
            "walltime_min": 30,
            "grace_s": 60,
        }
        path.write_text(yaml.safe_dump(facts | keys, sort_keys=False), "utf-8")
        return path

    def study(self, **sections: Any) -> Path:
        """Write the tiny study with little work, and some of its sections replaced."""
        return self.write_study(**slow_data() | sections)

    def launch(self, *more: str, status: int = 0) -> str:
        """Launch the tiny study."""
        arguments = ("--cluster", "box.yaml", "--study", "tiny.yaml", *more)
        return self.run("launch", *arguments, status=status)

    def close(self) -> None:
        """Let go of the database."""
        if self._storage is not None:
            self._storage.close()

    def ask(self, question: Callable[[Storage], Answer]) -> Answer:
        """Return the answer of the study's storage, which may be away for a moment."""
        if self._storage is None:
            self._storage = open_storage(
                choose_url(self.variable("WCONV_SWEEP_STORAGE") or None, self.runs, {})
            )
        storage = self._storage
        return storage.retrying(lambda: question(storage), patience_s=60)

    def read(self) -> StudyStatus:
        """Return what the storage holds of the study, without a process for each question."""
        return self.ask(lambda storage: read_status(storage, "tiny"))

    def status(self) -> dict[str, Any]:
        """Return what `status` says of the tiny study."""
        (status,) = json.loads(self.run("status", "--study", "tiny", "--json"))
        assert isinstance(status, dict)
        return status

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder / "wconv_runs"

    @property
    def pilots(self) -> Path:
        """The folder of orders, scripts and logs."""
        return self.runs / "tiny" / "pilots"

    def jobs(self) -> list[Queued]:
        """Return the jobs of the tiny study that have not ended."""
        return [job for job in self.box.queue() if job.name.startswith("wconv-tiny-")]
