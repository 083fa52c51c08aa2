"""What the pilots of a study ask SLURM for: the cluster's profile, and what a call wants else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.pilot_order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm_batch import BatchJob


@dataclass(frozen=True, kw_only=True)
class SlurmRequest:
    """What each of the pilots asks for, and how many of them there shall be."""

    pilots: int
    """That shall wait or run at the same time."""
    nodes: int
    """Of each pilot."""
    gpus: int
    """Of each node; 0 trains on the CPU."""
    cpus: int
    """Cores of each node; 0: as the site has it."""
    lanes: int
    """Trials side by side on a node without GPUs."""
    walltime_min: int
    grace_s: float
    lease_s: float
    requeue: bool
    """Whether SLURM may start a pilot again under its number."""
    options: Mapping[str, str | int | bool]
    """Of sbatch, by name."""
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    environment: Mapping[str, str]
    max_array_size: int | None = None
    """Jobs of one array, where the profile knows better than the site."""
    max_submit: int | None = None
    """Jobs in the queue at the same time, likewise."""

    def order(self, study: str, storage: str, folder: RunFolder) -> PilotOrder:
        """Return what the pilots are told."""
        return PilotOrder(
            launcher="slurm",
            study=study,
            storage=storage,
            run_folder=folder.path,
            pilot=0,
            nodes=self.nodes,
            gpus=self.gpus,
            lanes=self.lanes,
            cpus=self.cpus,
            requeue=self.requeue,
            lease_s=self.lease_s,
            grace_s=self.grace_s,
            walltime_s=60.0 * self.walltime_min,
        )

    def batch(self, name: str, folder: RunFolder, code: Path) -> BatchJob:
        """Return the batch job of the pilots, with the order that the first of them would get."""
        return BatchJob(
            name=name,
            folder=folder.pilots,
            order=folder.pilots / "slurm_0.json",
            code=code,
            options={"requeue" if self.requeue else "no-requeue": True} | dict(self.options),
            walltime_min=self.walltime_min,
            grace_s=int(self.grace_s),
            nodes=self.nodes,
            cpus=self.cpus,
            modules=self.modules,
            setup=self.setup,
            environment=self.environment,
        )
