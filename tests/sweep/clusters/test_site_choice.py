"""A new profile names the place that a user would have chosen."""

from dataclasses import replace

import pytest

from tests.sweep.sites import CPU, FOUR_GPUS, LARGE, SITE, SMALL, association, partition
from wconv_sweep.clusters.site_choice import choose
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.site import Site


def test_the_partition_with_most_gpu_nodes_is_chosen() -> None:
    choice = choose(SITE)

    assert choice.partition.name == "large"
    assert choice.other_partitions == ("small",)
    assert choice.nodes == FOUR_GPUS


def test_a_partition_that_is_down_or_not_for_the_account_is_passed_over() -> None:
    down = replace(SITE, partitions=(SMALL, replace(LARGE, up=False)))
    theirs = replace(SITE, partitions=(SMALL, replace(LARGE, allow_accounts=("theirs",))))

    assert choose(down).partition.name == "small"
    assert choose(theirs).partition.name == "small"


def test_the_nodes_that_a_partition_has_most_of_give_the_numbers() -> None:
    fat = replace(FOUR_GPUS, nodes=1, mem_mb=1_024_000)
    choice = choose(replace(SITE, partitions=(partition("mixed", fat, FOUR_GPUS),)))

    assert (choice.nodes, choice.other_nodes) == (FOUR_GPUS, (fat,))


def test_the_only_account_is_taken_and_among_several_the_default_one() -> None:
    two = (association("mine"), association("ours"))
    with_default = (two[0], replace(two[1], default=True))

    assert choose(SITE).association == two[0]
    assert choose(replace(SITE, associations=two)).association is None
    assert choose(replace(SITE, associations=two)).other_accounts == ("mine", "ours")
    assert choose(replace(SITE, associations=with_default)).association == with_default[1]


def test_the_default_qos_comes_first_and_one_of_others_not_at_all() -> None:
    only_long = replace(SITE, partitions=(replace(LARGE, allow_qos=("long",)),))

    assert [found.name for found in choose(SITE).qos] == ["normal", "long"]
    assert [found.name for found in choose(only_long).qos] == ["long"]


def test_what_is_said_of_a_partition_alone_comes_first() -> None:
    special = replace(association("mine"), partition="large", max_submit_jobs=3)
    site = replace(SITE, associations=(special, association("mine")))

    assert choose(site).association == special
    assert choose(site, "small").association == association("mine")


def test_without_accounting_no_account_is_named() -> None:
    choice = choose(replace(SITE, associations=(), qos=()))

    assert (choice.association, choice.qos) == (None, ())


@pytest.mark.parametrize(
    ("site", "wanted", "message"),
    [
        (SITE, "larg", "--partition larg: here has none of this name. There are: cpu, small, lar"),
        (SITE, "cpu", "--partition cpu: its nodes have no GPU .* Those with GPUs: small, large"),
        (replace(SITE, partitions=(CPU,)), None, "here has no partition .* the right cluster"),
        (
            replace(SITE, partitions=(replace(LARGE, allow_accounts=("theirs",)),)),
            None,
            "takes an account of alice. Ask for an account for one of these: large",
        ),
    ],
)
def test_a_place_that_does_not_exist_is_named(
    site: Site, wanted: str | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        choose(site, wanted)
