"""Studies on the test cluster, launched by the installed command, with a real database."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.slurm.box import Queued, SlurmBox
from tests.sweep.postgres import Server
from tests.sweep.tiny import TINY, Sweep

LONG: dict[str, Any] = {
    "recipe": TINY["recipe"] | {"epochs": 5000},
    "budget": {"trials": 40},
}
"""Sections of a study that does not end by itself."""


class SlurmSweep(Sweep):
    """The installed command in a folder of its own, with a profile of the test cluster."""

    def __init__(self, folder: Path, box: SlurmBox, server: Server) -> None:
        super().__init__(folder)
        self.box = box
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
        """Write the tiny study, with some of its sections replaced."""
        path = self.folder / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY | sections, sort_keys=False), "utf-8")
        return path

    def launch(self, *more: str, status: int = 0) -> str:
        """Launch the tiny study."""
        arguments = ("--cluster", "box.yaml", "--study", "tiny.yaml", *more)
        return self.run("launch", *arguments, status=status)

    def status(self) -> dict[str, Any]:
        """Return what `status` says of the tiny study."""
        (status,) = json.loads(self.run("status", "--study", "tiny", "--json"))
        assert isinstance(status, dict)
        return status

    @property
    def pilots(self) -> Path:
        """The folder of orders, scripts and logs."""
        return self.folder / "wconv_runs" / "tiny" / "pilots"

    def jobs(self) -> list[Queued]:
        """Return the jobs of the tiny study that have not ended."""
        return [job for job in self.box.queue() if job.name.startswith("wconv-tiny-")]
