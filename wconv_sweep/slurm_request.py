"""What the pilots of a study ask SLURM for: the cluster's profile, and what a call wants else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.cluster_profile import SlurmProfile
from wconv_sweep.pilot_order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm_batch import BatchJob
from wconv_sweep.wishes import Wishes

ACCOUNT_VARIABLE = "WCONV_SWEEP_ACCOUNT"


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

    def trials_at_once(self, ranks: int) -> int:
        """Return how many trials of so many ranks a pilot trains side by side."""
        if not self.gpus:
            return self.lanes * self.nodes
        if ranks > self.gpus:
            return max(1, self.nodes // -(-ranks // self.gpus))
        return self.gpus // ranks * self.nodes

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

    def batch(self, name: str, folder: RunFolder, code: Path, order: Path) -> BatchJob:
        """Return the batch job of the pilots that get an order."""
        return BatchJob(
            name=name,
            folder=folder.pilots,
            order=order,
            code=code,
            options=self.options,
            walltime_min=self.walltime_min,
            grace_s=int(self.grace_s),
            nodes=self.nodes,
            cpus=self.cpus,
            modules=self.modules,
            setup=self.setup,
            environment=self.environment,
        )


def request_of(
    profile: SlurmProfile, wishes: Wishes, environment: Mapping[str, str] = os.environ
) -> SlurmRequest:
    """Return what the pilots of a study ask for.

    Args:
        profile: of the cluster.
        wishes: what is wanted other than the profile says.
        environment: may name the account in WCONV_SWEEP_ACCOUNT.
    """
    gpus = profile.gpus_per_node if profile.gpus is None else profile.gpus
    walltime_min = wishes.walltime_min or profile.walltime_min
    cpus = _cpus(profile, gpus)
    named: dict[str, str | None] = {
        "account": _account(profile, wishes.account or environment.get(ACCOUNT_VARIABLE)),
        "partition": profile.partition.default,
        "qos": wishes.qos or profile.qos.default,
        "constraint": profile.constraint,
        "hint": profile.hint,
        "wckey": profile.wckey,
        "mem": f"{profile.mem_per_gpu_mb * gpus}M" if profile.mem_per_gpu_mb and gpus else None,
    }
    options: dict[str, str | int | bool] = {name: text for name, text in named.items() if text}
    options["requeue" if profile.requeue else "no-requeue"] = True
    if profile.whole_nodes:
        options["exclusive"] = True
    if gpus:
        kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
        asked = f"gpu:{kind}{gpus}" if profile.gpu_flag == "gres" else f"{kind}{gpus}"
        options[profile.gpu_flag] = asked
    if cpus:
        options["cpus-per-task"] = cpus
    return SlurmRequest(
        pilots=wishes.pilots or profile.pilots,
        nodes=wishes.nodes or profile.nodes,
        gpus=gpus,
        cpus=cpus or 0,
        lanes=1,
        walltime_min=walltime_min,
        grace_s=profile.grace_s,
        lease_s=profile.lease_s,
        requeue=profile.requeue,
        options=options,
        modules=tuple(profile.modules),
        setup=profile.setup_lines,
        environment=profile.env,
        max_array_size=profile.max_array_size,
    )


def _account(profile: SlurmProfile, wanted: str | None) -> str | None:
    account, suffix = wanted or profile.account, profile.account_suffix
    if account and suffix and not account.endswith(suffix):
        return account + suffix
    return account


def _cpus(profile: SlurmProfile, gpus: int) -> int | None:
    if profile.cpus_per_gpu and gpus:
        return profile.cpus_per_gpu * gpus
    if profile.cpus_per_node is None or not gpus or profile.whole_nodes:
        return profile.cpus_per_node
    return profile.cpus_per_node * gpus // profile.gpus_per_node
