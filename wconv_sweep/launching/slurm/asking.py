"""Asks a site whether it would take pilots, before anything is written."""

from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.errors import SlurmAway, SlurmError
from wconv_sweep.slurm.batch import BatchJob, check_submission
from wconv_sweep.slurm.refusals import no_array, no_such_node
from wconv_sweep.slurm.site import Partition, ask_site


def ask_for_pilots(profile: SlurmProfile, shape: PilotShape, job: BatchJob) -> str | None:
    """Return why pilots would have to wait for their nodes to be repaired; None: they would not.

    Args:
        profile: of the site.
        shape: of the pilots.
        job: the batch job of the pilots; nothing is submitted.

    Raises:
        SlurmError: the site would not take them, with its own message.
        SlurmAway: it does not answer.
    """
    try:
        _check(job, arrays=profile.max_array_size > 0)
    except SlurmAway:
        raise
    except SlurmError as error:
        waits = _waits_for_nodes(profile, shape) if no_such_node(error) else None
        if waits is None:
            raise
        return waits
    return None


def fitting_nodes(
    profile: SlurmProfile, shape: PilotShape, partition: Partition
) -> tuple[int, int]:
    """Return how many nodes of a partition have what a pilot asks of each, and how many are away.

    Args:
        profile: of the site.
        shape: of the pilot.
        partition: as it is now.
    """
    # Of a node with several kinds of GPUs the first one is known: another is asked of all nodes.
    known = {kind.gpu_kind for kind in partition.kinds}
    wanted = profile.gpu_type if profile.gpu_type in known else None
    kinds = [
        kind
        for kind in partition.kinds
        if kind.gpus >= shape.gpus_used_per_node
        and kind.cpus >= shape.cpus_per_task
        and kind.mem_mb >= (shape.mem_per_node_mb or 0)
        and (not shape.gpus_used_per_node or wanted in (None, kind.gpu_kind))
    ]
    return sum(kind.nodes for kind in kinds), sum(kind.away for kind in kinds)


def _check(job: BatchJob, *, arrays: bool) -> None:
    try:
        check_submission(job, 1 if arrays else None)
    except SlurmError as error:
        if not (arrays and no_array(error)):
            raise
        check_submission(job, None)


def _waits_for_nodes(profile: SlurmProfile, shape: PilotShape) -> str | None:
    """Say which nodes are away, if it is for them that `sbatch --test-only` refuses pilots.

    It looks at the nodes of this moment; sbatch itself would take the same job, and SLURM would
    start it once they are back.
    """
    try:
        site = ask_site(profile.slurm_cluster)
    except SlurmError:
        return None
    for name in shape.partitions or (None,):
        partition = site.partition(name)
        if partition is None:
            continue
        nodes, away = fitting_nodes(profile, shape, partition)
        if nodes - away < shape.nodes <= nodes:
            return (
                f"at this moment {away} of the {nodes} nodes of partition {partition.name} that "
                "fit are down or drained: pilots wait in the queue until they are back"
            )
    return None
