"""The variables of a program of the user's: which rank it is, as `torchrun` says it."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from wconv_jobs.program_trial import RANK_VARIABLES, ProgramTrial
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.program_channel import ProgramChannel
from wconv_trial.names import CHANNEL_VARIABLE

DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
SAFE_PATH_VARIABLE = "PYTHONSAFEPATH"
"""Keeps pilots from taking packages of the current folder for ours; a program would not find the
modules beside it."""


VARYING = (
    *RANK_VARIABLES,
    # torch's launcher sets others of its own, where such a one has started this process.
    *("TORCHELASTIC_", "ACCELERATE_USE_CPU", "PYTHONPATH", CHANNEL_VARIABLE),
)
"""How the names begin of those variables that may differ among the processes of a trainer's
programs; none is read before the program begins."""


def shared_environment(
    trial: ProgramTrial, packages: Path, further: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the variables that all processes of a trainer's programs have.

    Args:
        trial: of the program.
        packages: folder of `wconv_jobs.ranks.program_channel.PACKAGES`.
        further: variables that the study may set otherwise.
    """
    return (
        {name: value for name, value in os.environ.items() if name != SAFE_PATH_VARIABLE}
        | {"OMP_NUM_THREADS": str(trial.threads_per_rank), "PYTHONUNBUFFERED": "1"}
        | dict(further)
        | trial.env
        | {"PYTHONPATH": _path(packages, trial.env)}
    )


def program_environment(
    order: NodeOrder, trial: ProgramTrial, channel: ProgramChannel, port: int
) -> dict[str, str]:
    """Return all variables of the program as the rank of this node that LOCAL_RANK names.

    Args:
        order: of this node.
        trial: of the program.
        channel: where it reports.
        port: on rank 0's node, where its ranks may meet.
    """
    local_rank = int(os.environ["LOCAL_RANK"])
    node = order.first_rank // order.ranks_here
    return (
        shared_environment(trial, channel.packages, _without_gpus(order))
        | {
            "RANK": str(order.first_rank + local_rank),
            "WORLD_SIZE": str(order.ranks),
            "LOCAL_WORLD_SIZE": str(order.ranks_here),
            "GROUP_RANK": str(node),
            "NODE_RANK": str(node),
            "GROUP_WORLD_SIZE": str(order.ranks // order.ranks_here),
            "ROLE_RANK": str(order.first_rank + local_rank),
            "ROLE_WORLD_SIZE": str(order.ranks),
            "ROLE_NAME": "default",
            "MASTER_ADDR": order.address,
            "MASTER_PORT": str(port),
            # Libraries take these for torchrun, and start no ranks of their own. There is no store
            # of an agent: the ranks make theirs.
            "TORCHELASTIC_RUN_ID": "wconv-sweep",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_USE_AGENT_STORE": "False",
            CHANNEL_VARIABLE: str(channel.address),
        }
        | _visible(order.devices)
    )


def _path(packages: Path, env: Mapping[str, str]) -> str:
    """Return PYTHONPATH with the packages first, and without the program that runs this."""
    given = env.get("PYTHONPATH", os.environ.get("PYTHONPATH", "")).split(os.pathsep)
    kept = [each for each in given if each and not Path(each, "wconv_sweep").is_dir()]
    return os.pathsep.join([str(packages), *kept])


def _without_gpus(order: NodeOrder) -> dict[str, str]:
    """Return what `accelerate launch --cpu` sets: without it, Accelerate and what is built on it
    take no notice of the other ranks where there is no GPU, and each trains for itself."""
    return {} if order.devices or order.ranks == 1 else {"ACCELERATE_USE_CPU": "true"}


def _visible(devices: tuple[int, ...]) -> dict[str, str]:
    """Return the GPUs of the trial, so that `cuda:LOCAL_RANK` is one of them.

    They are numbers among those that this process sees, which may have names of their own.
    """
    if not devices:
        return {}
    seen = os.environ.get(DEVICES_VARIABLE)
    names = seen.split(",") if seen else None
    return {DEVICES_VARIABLE: ",".join(names[each] if names else str(each) for each in devices)}
