"""Placements that cannot be are refused where they are written down."""

import pytest

from wconv_jobs.ranks.placement import NodeCommand, Placement


@pytest.mark.parametrize(("ranks", "nodes", "each"), [(1, 1, 1), (4, 1, 4), (4, 2, 2), (6, 3, 2)])
def test_every_node_gets_as_many_ranks(ranks: int, nodes: int, each: int) -> None:
    placement = Placement(ranks, other_nodes=(NodeCommand(("env",)),) * (nodes - 1))

    assert placement.ranks_per_node == each


@pytest.mark.parametrize("ranks", [0, 3])
def test_ranks_that_nodes_cannot_share_are_refused(ranks: int) -> None:
    with pytest.raises(ValueError, match=rf"{ranks} rank\(s\) cannot be shared evenly by 2 node"):
        Placement(ranks, other_nodes=(NodeCommand(("env",)),))


def test_fewer_gpus_than_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 rank\(s\) of a node cannot have a GPU each of \[5\]"):
        Placement(4, devices=(0, 1), other_nodes=(NodeCommand(("env",), devices=(5,)),))


def test_a_node_without_gpus_beside_one_with_gpus_is_refused() -> None:
    with pytest.raises(ValueError, match="some nodes of a trial have GPUs, others have none"):
        Placement(2, devices=(0,), other_nodes=(NodeCommand(("env",)),))
