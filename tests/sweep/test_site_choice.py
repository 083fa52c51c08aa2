"""A new profile names the place that a user would have chosen."""

from dataclasses import replace

import pytest

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.site_choice import choose
from wconv_sweep.slurm_site import Association, NodeKind, Partition, Qos, Site

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
