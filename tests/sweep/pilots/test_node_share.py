"""GPUs and cores of a pilot are divided among its trials without remainder or overlap."""

from pathlib import Path

import pytest

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.pilots.node_share import nodes_per_trial, share_of
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.study.config import TrialShape


def order(**facts: int) -> PilotOrder:
    used = facts.get("gpus_used_per_node", 0)
    return PilotOrder(
        study="tiny",
        storage="sqlite:///sweep.db",
        run_folder=Path("runs/tiny"),
        pilot=0,
        lease_s=60.0,
        grace_s=120.0,
        walltime_s=3600.0,
        **{"gpus_used_per_node": used, "gpus_held_per_node": used} | facts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("gpus", "ranks", "devices"),
    [
        (4, 1, [(0,), (1,), (2,), (3,)]),
        (4, 2, [(0, 1), (2, 3)]),
        (4, 4, [(0, 1, 2, 3)]),
        (4, 3, [(0, 1, 2)]),
        (1, 1, [(0,)]),
        (0, 4, [()]),
    ],
)
def test_the_gpus_of_a_node_are_shared_by_as_many_trials_as_they_hold(
    gpus: int, ranks: int, devices: list[tuple[int, ...]]
) -> None:
    share = share_of(order(gpus_used_per_node=gpus), TrialShape(ranks=ranks), node=0)

    assert share is not None
    assert [lane.devices for lane in share.lanes] == devices
    assert share.group == (0,)


def test_trials_that_share_gpus_are_spread_over_all_of_them() -> None:
    shape = TrialShape(per_gpu=3, threads_per_rank=8)

    share = share_of(order(gpus_used_per_node=2, cpus=16), shape, node=0)
    on_cpus = share_of(order(lanes=2), shape, node=0)

    assert share is not None
    # The first to get work have a GPU each.
    assert [lane.devices for lane in share.lanes] == [(0,), (1,), (0,), (1,), (0,), (1,)]
    assert {lane.threads_per_rank for lane in share.lanes} == {2}
    assert on_cpus is not None
    assert [lane.devices for lane in on_cpus.lanes] == [(), ()]


def test_a_pilot_without_gpus_has_the_lanes_that_it_is_told() -> None:
    share = share_of(order(lanes=3), TrialShape(ranks=2), node=0)

    assert share is not None
    assert len(share.lanes) == 3


@pytest.mark.parametrize(
    ("cpus", "ranks", "wanted", "threads"),
    [
        (32, 1, 8, 8),  # four ranks of eight threads on 32 cores
        (32, 2, 16, 8),
        (32, 1, 2, 2),  # the study wants no more
        (2, 1, 4, 1),  # more ranks than cores
        (0, 1, 4, 4),  # not known
    ],
)
def test_the_cores_of_a_node_are_shared_by_all_ranks_on_it(
    cpus: int, ranks: int, wanted: int, threads: int
) -> None:
    shape = TrialShape(ranks=ranks, threads_per_rank=wanted)

    share = share_of(order(gpus_used_per_node=4, cpus=cpus), shape, node=0)

    assert share is not None
    assert {lane.threads_per_rank for lane in share.lanes} == {threads}


@pytest.mark.parametrize(
    ("gpus", "ranks", "nodes"), [(4, 4, 1), (4, 8, 2), (4, 6, 2), (4, 5, 5), (4, 9, 3), (0, 9, 1)]
)
def test_a_trial_takes_the_fewest_nodes_that_share_it_evenly(
    gpus: int, ranks: int, nodes: int
) -> None:
    assert nodes_per_trial(gpus, ranks) == nodes


def test_nodes_that_form_no_whole_group_are_left_out() -> None:
    shape, five = (
        TrialShape(ranks=8, threads_per_rank=8),
        order(gpus_used_per_node=4, nodes=5, cpus=16),
    )

    shares = [share_of(five, shape, node) for node in range(5)]

    assert [None if share is None else share.group for share in shares] == [
        (0, 1),
        None,
        (2, 3),
        None,
        None,
    ]
    assert shares[0] is not None
    (lane,) = shares[0].lanes
    assert (lane.devices, lane.threads_per_rank) == ((0, 1, 2, 3), 4)


def test_a_pilot_that_cannot_hold_one_trial_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"8, which takes 2 nodes of 4 GPU\(s\), but the"):
        share_of(order(gpus_used_per_node=4, nodes=1), TrialShape(ranks=8), node=0)
