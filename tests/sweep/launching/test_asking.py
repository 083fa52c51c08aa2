"""The nodes that pilots could have are told from those that they can have at this moment."""

from dataclasses import replace

import pytest

from tests.sweep.profiles import profile
from tests.sweep.sites import FOUR_GPUS, partition
from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.launching.slurm.asking import fitting_nodes

MIXED = partition(
    "mixed",
    replace(FOUR_GPUS, nodes=5, away=2),
    replace(FOUR_GPUS, nodes=7, gpu_kind="h100", away=1),
    replace(FOUR_GPUS, nodes=11, gpus=0),
    replace(FOUR_GPUS, nodes=13, mem_mb=1000),
)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (12, 3)),
        ({"gpu_type": "h100"}, (7, 1)),
        ({"gpu_type": "mig"}, (12, 3)),
        ({"gpus_used_per_node": 1, "mem_per_gpu_mb": 1000}, (25, 3)),
        ({"gpus_used_per_node": 0}, (36, 3)),
    ],
)
def test_nodes_fit_by_their_gpus_cpus_and_memory_up_or_not(
    keys: dict[str, object], expected: tuple[int, int]
) -> None:
    found = profile(**keys)

    assert fitting_nodes(found, resolve_request(found, PilotRequest(), {}), MIXED) == expected
