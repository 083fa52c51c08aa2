"""What pilots ask for is the profile's, unless the command line says otherwise."""

from typing import Any

import pytest

from tests.sweep.profiles import profile
from wconv_sweep.clusters.pilot_request import PilotRequest, PilotShape, resolve_request
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.slurm.sbatch_options import batch_options


def shape(keys: dict[str, Any], **options: Any) -> PilotShape:
    return resolve_request(profile(**keys), PilotRequest(**options), {})


def test_without_options_pilots_are_as_the_profile_has_them() -> None:
    wishes = {"pilots": 3, "nodes": 2, "account": "a", "walltime_min": 90}
    names = {"partition": {"default": "p"}, "qos": {"default": "q"}}

    found = shape(wishes | names)

    assert (found.pilots, found.nodes, found.walltime_min) == (3, 2, 90)
    assert (found.account, found.partition, found.qos) == ("a", "p", "q")


def test_options_go_before_the_profile() -> None:
    wishes = {"pilots": 3, "nodes": 2, "account": "a", "walltime_min": 90}
    names = {"partition": {"default": "p"}, "qos": {"default": "q"}}

    found = shape(
        wishes | names, pilots=5, nodes=4, walltime_min=30, account="b", partition="r", qos="s"
    )

    assert (found.pilots, found.nodes, found.walltime_min) == (5, 4, 30)
    assert (found.account, found.partition, found.qos) == ("b", "r", "s")


@pytest.mark.parametrize(
    ("keys", "gpus", "cpus", "mem_mb"),
    [
        ({}, 4, 32, 4000),
        ({"gpus_used_per_node": 1}, 1, 8, 1000),
        ({"gpus_used_per_node": 1, "cpus_per_gpu": None}, 1, 8, 1000),  # 32 / 4
        (
            {"gpus_used_per_node": 3, "cpus_per_gpu": None, "cpus_per_node": 30},
            3,
            22,
            3000,
        ),  # 3 * 30 // 4
        ({"gpus_used_per_node": 1, "whole_nodes": True}, 1, 32, 1000),
        # All that the node has, where the site's default is a share for each CPU.
        ({"mem_per_gpu_mb": None, "whole_nodes": True}, 4, 32, 0),
        ({"gpus_per_node": 0, "whole_nodes": True}, 0, 32, 0),
        ({"mem_per_gpu_mb": None}, 4, 32, None),
        ({"cpus_per_gpu": None, "cpus_per_node": None}, 4, 0, 4000),
        ({"gpus_per_node": 0}, 0, 32, None),
    ],
)
def test_cpus_and_memory_go_with_the_gpus(
    keys: dict[str, Any], gpus: int, cpus: int, mem_mb: int | None
) -> None:
    found = shape(keys)

    assert (found.gpus_used_per_node, found.cpus_per_task, found.mem_per_node_mb) == (
        gpus,
        cpus,
        mem_mb,
    )


@pytest.mark.parametrize(
    ("keys", "held"),
    [
        ({}, 4),
        ({"gpus_used_per_node": 1}, 1),
        ({"gpus_used_per_node": 1, "whole_nodes": True}, 4),
        ({"gpus_used_per_node": 0, "whole_nodes": True}, 4),
    ],
)
def test_a_job_holds_all_gpus_of_a_whole_node(keys: dict[str, Any], held: int) -> None:
    assert shape(keys).gpus_held_per_node == held


def test_options_of_sbatch_go_before_those_of_the_profile_key_by_key() -> None:
    keys = {"sbatch": {"reservation": "course", "exclude": "n[1-2]", "contiguous": True}}

    found = shape(keys, sbatch={"exclude": "n3", "contiguous": "", "nice": "5"})

    assert batch_options(found.sbatch) == {"reservation": "course", "exclude": "n3", "nice": "5"}


@pytest.mark.parametrize(
    ("key", "option", "partitions"),
    [(None, None, ()), ("a,b", None, ("a", "b")), ("a", "b,c", ("b", "c"))],
)
def test_pilots_may_wait_in_several_partitions(
    key: str | None, option: str | None, partitions: tuple[str, ...]
) -> None:
    assert shape({"partition": {"default": key}}, partition=option).partitions == partitions


@pytest.mark.parametrize(
    ("option", "variable", "key", "account"),
    [
        ("a", "b", "c", "a"),
        (None, "b", "c", "b"),
        (None, "", "c", "c"),
        (None, None, "c", "c"),
        (None, None, None, None),
    ],
)
def test_the_account_comes_from_the_option_the_variable_or_the_profile(
    option: str | None, variable: str | None, key: str | None, account: str | None
) -> None:
    environment = {} if variable is None else {"WCONV_SWEEP_ACCOUNT": variable}

    found = resolve_request(profile(account=key), PilotRequest(account=option), environment)

    assert found.account == account


@pytest.mark.parametrize(("account", "asked"), [("abc", "abc@h100"), ("abc@h100", "abc@h100")])
def test_the_suffix_of_accounts_is_added_once(account: str, asked: str) -> None:
    assert shape({"account_suffix": "@h100"}, account=account).account == asked


def test_no_option_can_be_a_command() -> None:
    request = PilotRequest(
        account="a;id", qos="$(id)", partition="a,b c", sbatch={"comment": "a\nb"}
    )

    with pytest.raises(ConfigurationError) as caught:
        resolve_request(profile(), request, {"WCONV_SWEEP_ACCOUNT": "a\nb"})

    assert [problem.split()[0] for problem in caught.value.problems] == [
        "--account",
        "WCONV_SWEEP_ACCOUNT",
        "--qos",
        "--partition",
        "--sbatch",
    ]


@pytest.mark.parametrize(
    ("cpus", "ranks", "threads", "lanes"),
    [(32, 2, 4, 4), (32, 3, 4, 2), (8, 4, 4, 1), (0, 1, 1, 1)],
)
def test_as_many_trials_fit_on_the_cpus_as_have_a_core_for_each_thread(
    cpus: int, ranks: int, threads: int, lanes: int
) -> None:
    pilot = shape({"gpus_per_node": 0, "cpus_per_node": cpus or None})

    assert pilot.cpu_lanes(ranks, threads) == lanes
