"""Turns a cluster's profile and the shape of its pilots into a batch job and an order."""

from pathlib import Path

from wconv_sweep.clusters.lint import nodes_of_trial
from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.pilots.command import pilot_command
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.slurm.batch import BatchJob
from wconv_sweep.slurm.sbatch_options import batch_options
from wconv_sweep.study.config import TrialShape


def batch_job(
    profile: SlurmProfile, shape: PilotShape, name: str, folder: RunFolder, code: Path, order: Path
) -> BatchJob:
    """Return the batch job of pilots.

    Args:
        profile: of the site.
        shape: of the pilots.
        name: of the job.
        folder: of the study.
        code: the frozen program.
        order: tells the pilots what to do.
    """
    return BatchJob(
        name=name,
        folder=folder.pilots,
        command=pilot_command(order),
        code=code,
        options=_options(profile, shape),
        walltime_min=shape.walltime_min,
        grace_s=int(profile.grace_s),
        cluster=profile.slurm_cluster,
        nodes=shape.nodes,
        cpus=shape.cpus_per_task,
        setup=profile.setup_lines,
        modules=tuple(profile.modules),
        environment=profile.env,
    )


def pilot_order(
    profile: SlurmProfile,
    shape: PilotShape,
    study: str,
    trial: TrialShape,
    storage: str,
    folder: RunFolder,
) -> PilotOrder:
    """Return the order for the pilots of a study, with the first pilot's number set to 0."""
    return PilotOrder(
        launcher="slurm",
        study=study,
        storage=storage,
        run_folder=folder.path,
        slurm_cluster=profile.slurm_cluster,
        pilot=0,
        nodes=shape.nodes,
        gpus_used_per_node=shape.gpus_used_per_node,
        gpus_held_per_node=shape.gpus_held_per_node,
        lanes=shape.cpu_lanes(trial.ranks, trial.threads_per_rank),
        cpus=shape.cpus_per_task,
        requeue=profile.requeue,
        lease_s=profile.lease_s,
        grace_s=profile.grace_s,
        walltime_s=60.0 * shape.walltime_min,
    )


def trials_at_once(shape: PilotShape, trial: TrialShape) -> int:
    """Return the number of trials that a pilot trains side by side."""
    if not shape.gpus_used_per_node:
        return shape.cpu_lanes(trial.ranks, trial.threads_per_rank) * shape.nodes
    spanned = nodes_of_trial(shape, trial) or 1
    return shape.nodes // spanned * (shape.gpus_used_per_node // trial.ranks or 1) * trial.per_gpu


def _options(profile: SlurmProfile, shape: PilotShape) -> dict[str, str | int]:
    named: dict[str, str | int | None] = {
        "account": shape.account,
        "partition": shape.partition,
        "qos": shape.qos,
        "constraint": profile.constraint,
        "hint": profile.hint,
        "wckey": profile.wckey,
        "mem": _memory(shape.mem_per_node_mb),
    }
    options: dict[str, str | int] = {
        name: text for name, text in named.items() if text is not None
    }
    options["requeue" if profile.requeue else "no-requeue"] = True
    if profile.whole_nodes:
        options["exclusive"] = True
    if shape.gpus_used_per_node:
        kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
        resource = "gpu:" if profile.gpu_flag == "gres" else ""
        options[profile.gpu_flag] = f"{resource}{kind}{shape.gpus_used_per_node}"
    return batch_options({**options, **shape.sbatch})


def _memory(mb: int | None) -> str | None:
    # To sbatch, 0 is all that the node has.
    return f"{mb}M" if mb else None if mb is None else "0"
