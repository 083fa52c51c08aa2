"""Projected costs are those of the sites' own examples, computed by hand."""

from typing import Any

import pytest

from tests.sweep.profiles import profile
from wconv_sweep.clusters.billing import Cost, hourly_price, projected_cost
from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.clusters.profile import SlurmProfile, load_profile


def site(name: str, **keys: Any) -> SlurmProfile:
    found = load_profile(name)
    assert isinstance(found, SlurmProfile)
    return found.model_copy(update=keys)


def cost(found: SlurmProfile, **options: Any) -> Cost:
    return projected_cost(found, resolve_request(found, PilotRequest(**options), {}))


@pytest.mark.parametrize(
    ("keys", "price"),
    [
        # CINECA: a node for an hour is 32 core-hours, with or without its GPUs.
        ({}, 32),
        # A GPU is a quarter of a node, and 123000 of 494000 MiB are 7.97 of 32.
        ({"gpus_used_per_node": 1}, 8),
        # 16 of 32 cores are half a node: 16 and not 8, though there is one GPU only.
        ({"gpus_used_per_node": 1, "cpus_per_gpu": 16}, 16),
        # Half of the memory is half a node, too.
        ({"gpus_used_per_node": 1, "mem_per_gpu_mb": 247_000}, 16),
    ],
)
def test_leonardo_bills_the_largest_share_of_a_node(keys: dict[str, Any], price: float) -> None:
    found = site("leonardo", **keys)

    assert hourly_price(found, resolve_request(found, PilotRequest(), {})) == price


def test_leonardo_counts_pilots_nodes_and_hours() -> None:
    # 3 pilots x 2 nodes x 1.5 h = 9 node-hours of 32 core-hours and 4 GPUs.
    assert cost(site("leonardo"), pilots=3, nodes=2, walltime_min=90) == Cost(
        node_hours=9,
        gpu_hours=36,
        device_hours=36,
        core_hours=288,
        billed=288,
        unit="core-hours",
    )


def test_lumi_bills_four_gpu_hours_for_an_hour_of_a_whole_node() -> None:
    # The user guide: 4 nodes of standard-g for 24 hours are 4 x 4 x 24 = 384 GPU-hours.
    found = cost(site("lumi"), nodes=4, walltime_min=1440)

    assert (found.billed, found.unit, found.gpu_hours) == (384, "GPU-hours", 384)
    # SLURM shows the eight dies of a node as GPUs, and a cap counts those.
    assert found.device_hours == 4 * 24 * 8
    assert found.core_hours == 4 * 24 * 56


@pytest.mark.parametrize(
    ("keys", "billed"),
    [
        # The user guide: 2 dies for 24 hours are (2 x 24) x 0.5.
        ({"gpus_used_per_node": 2}, 24),
        # 1 die with 128 GB is ceil(128 / 64) x 24 x 0.5.
        ({"gpus_used_per_node": 1, "mem_per_gpu_mb": 128 * 1024}, 24),
        # 1 die with 65 GB counts as two, and with 9 cores as well.
        ({"gpus_used_per_node": 1, "mem_per_gpu_mb": 65 * 1024}, 24),
        ({"gpus_used_per_node": 1, "cpus_per_gpu": 9}, 24),
        ({"gpus_used_per_node": 1, "cpus_per_gpu": 8}, 12),
    ],
)
def test_lumi_bills_slices_where_nodes_are_shared(keys: dict[str, Any], billed: float) -> None:
    assert cost(site("lumi", whole_nodes=False, **keys), walltime_min=1440).billed == billed


def test_whole_nodes_cost_all_their_gpus_however_few_are_used() -> None:
    billing = {"unit": "node-hours", "per_node": 1}

    found = cost(
        profile(whole_nodes=True, gpus_used_per_node=1, billing=billing), walltime_min=120
    )

    assert found == Cost(
        node_hours=2, gpu_hours=8, device_hours=8, core_hours=64, billed=2, unit="node-hours"
    )


def test_shared_nodes_cost_the_gpus_that_are_held() -> None:
    found = cost(profile(gpus_used_per_node=1), walltime_min=120)

    assert found == Cost(
        node_hours=2, gpu_hours=2, device_hours=2, core_hours=16, billed=None, unit=None
    )


def test_a_price_that_needs_an_unknown_number_of_cpus_is_not_made_up() -> None:
    billing = {"unit": "core-hours", "per_node": 32, "per_cpu": 1, "per_gpu": 8}

    found = cost(profile(cpus_per_node=None, cpus_per_gpu=None, billing=billing))

    assert (found.billed, found.core_hours, found.gpu_hours) == (None, None, 4)
