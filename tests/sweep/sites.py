"""Sites made up: what a SLURM could tell of itself."""

from dataclasses import replace

from wconv_sweep.slurm.accounts import Association, Qos
from wconv_sweep.slurm.site import NodeKind, Partition, Site

FOUR_GPUS = NodeKind(nodes=3, cpus=32, mem_mb=512_000, gpus=4, gpu_kind="a100")


def partition(name: str, *kinds: NodeKind) -> Partition:
    return Partition(
        name=name,
        default=False,
        up=True,
        kinds=kinds,
        max_time_min=1440,
        max_nodes=None,
        allow_accounts=(),
        allow_qos=(),
        qos="",
    )


def association(account: str) -> Association:
    return Association(
        account=account,
        default=False,
        partition="",
        qos=("long", "normal"),
        default_qos="normal",
        max_submit_jobs=None,
        max_jobs=None,
        max_wall_min=None,
        max_gpus=None,
    )


def qos(name: str) -> Qos:
    return Qos(
        name=name,
        preempts=(),
        grace_s=0,
        max_submit_per_user=None,
        max_submit_per_account=None,
        max_jobs_per_user=None,
        max_wall_min=None,
        min_nodes=None,
        max_nodes=None,
        max_gpus=None,
        max_nodes_per_user=None,
        max_gpus_per_user=None,
    )


SMALL = partition("small", replace(FOUR_GPUS, nodes=1))
LARGE = partition("large", FOUR_GPUS)
CPU = partition("cpu", replace(FOUR_GPUS, nodes=100, gpus=0))

SITE = Site(
    cluster="here",
    version="23.11.4",
    max_array_size=1001,
    max_job_count=10_000,
    partitions=(CPU, SMALL, LARGE),
    user="alice",
    associations=(association("mine"),),
    qos=(qos("long"), qos("normal"), qos("other")),
    warnings=(),
)
