"""What a site would refuse is said before it is asked, with the key or option to change."""

from pathlib import Path
from typing import Any

import pytest

from tests.sweep.profiles import profile
from wconv_sweep.clusters.lint import Findings, folder_advice, lint, nodes_of_trial
from wconv_sweep.clusters.pilot_request import PilotRequest, resolve_request
from wconv_sweep.clusters.profile import PACKAGE, SlurmProfile, load_profile
from wconv_sweep.study.config import TrialShape
from wconv_sweep.study.resources import shipped

NOTHING = Findings(problems=(), warnings=())


def findings(found: SlurmProfile, *, ranks: int = 1, threads: int = 1, **options: Any) -> Findings:
    return of_trials(found, TrialShape(ranks=ranks, threads_per_rank=threads), **options)


def of_trials(found: SlurmProfile, trial: TrialShape, **options: Any) -> Findings:
    return lint(found, resolve_request(found, PilotRequest(**options), {}), trial)


def leonardo(**keys: Any) -> SlurmProfile:
    found = load_profile("leonardo")
    assert isinstance(found, SlurmProfile)
    return found.model_copy(update={"account": "EUHPC_D01_001"} | keys)


@pytest.mark.parametrize("name", shipped(PACKAGE))
def test_with_an_account_every_shipped_profile_can_be_launched_as_it_is(name: str) -> None:
    found = load_profile(name)

    if isinstance(found, SlurmProfile):
        assert findings(found, account="mine") == NOTHING


def test_a_profile_that_knows_no_limit_finds_nothing() -> None:
    assert findings(profile(), ranks=4, threads=8, pilots=1000, nodes=500) == NOTHING


def test_a_site_without_job_arrays_is_no_finding() -> None:
    assert findings(profile(max_array_size=0), pilots=1000) == NOTHING


@pytest.mark.parametrize(
    ("found", "options", "problem"),
    [
        (
            leonardo(account=None),
            {},
            "cluster leonardo: no account is given, and the site refuses jobs without one. Use "
            "--account NAME, set WCONV_SWEEP_ACCOUNT, or write `account: NAME` into a profile of "
            "your own.",
        ),
        (
            leonardo(),
            {"qos": "boost_qos_debug"},
            "cluster leonardo: --qos boost_qos_debug: the profile knows no QOS of this name. Did "
            "you mean 'boost_qos_dbg'? Add others to qos.known in a profile of your own.",
        ),
        (
            leonardo(),
            {"partition": "dcgp_usr_prod"},
            "cluster leonardo: --partition dcgp_usr_prod: the profile knows no partition of this "
            "name. Did you mean 'boost_usr_prod'? Add others to partition.known in a profile of "
            "your own.",
        ),
        (
            profile(partition={"site_default_has_gpu": False}),
            {},
            "cluster site: no partition is given, and the site's default has no GPU. Use "
            "--partition NAME or set partition.default.",
        ),
        (
            profile(qos={"required": True, "known": {"a": {}, "b": {}}}),
            {},
            "cluster site: no QOS is given, and the site refuses jobs without one. Use --qos with "
            "one of a, b.",
        ),
        (
            profile(qos={"known": {"a": {}, "b": {}}}),
            {"qos": "zzz"},
            "cluster site: --qos zzz: the profile knows no QOS of this name. Known: a, b. Add "
            "others to qos.known in a profile of your own.",
        ),
    ],
)
def test_a_name_that_is_missing_or_unknown_is_a_problem(
    found: SlurmProfile, options: dict[str, Any], problem: str
) -> None:
    assert findings(found, **options).problems == (problem,)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"walltime_min": 1441},
            "--time: 1441 min are more than the 1440 min that QOS normal allows. Use --time 1440, "
            "or another QOS or partition.",
        ),
        (
            {"qos": "boost_qos_dbg", "walltime_min": 31},
            "--time: 31 min are more than the 30 min that QOS boost_qos_dbg allows. Use --time "
            "30, or another QOS or partition.",
        ),
        (
            {"nodes": 65},
            "--nodes 65: QOS normal allows 64. Use --nodes 64, or another QOS or partition.",
        ),
        (
            {"qos": "boost_qos_bprod", "nodes": 64},
            "--nodes 64: QOS boost_qos_bprod takes jobs of 65 nodes or more. Use --nodes 65, or "
            "another QOS or partition.",
        ),
    ],
)
def test_a_limit_of_leonardo_is_a_problem_just_beyond_it(
    options: dict[str, Any], problem: str
) -> None:
    assert findings(leonardo(), **options).problems == (f"cluster leonardo: {problem}",)


@pytest.mark.parametrize(
    "options",
    [
        {"walltime_min": 1440, "nodes": 64},
        {"qos": "boost_qos_dbg", "walltime_min": 30, "nodes": 2},
        {"qos": "boost_qos_bprod", "nodes": 65},
        {"qos": "boost_qos_bprod", "nodes": 256},
        {"qos": "boost_qos_lprod", "walltime_min": 5760, "nodes": 3},
    ],
)
def test_a_limit_of_leonardo_may_be_reached(options: dict[str, Any]) -> None:
    assert findings(leonardo(), **options) == NOTHING


def test_jobs_of_a_user_and_their_gpus_are_counted_together() -> None:
    limits = {"max_gpus": 16, "max_gpus_per_user": 8, "max_submit_jobs": 3, "max_running_jobs": 2}
    found = profile(partition={"default": "p", "known": {"p": limits}})

    # 8 GPUs of a user are two jobs of one node, or one job of two nodes.
    assert findings(found, pilots=2) == NOTHING
    assert findings(found, pilots=3).warnings == (
        "cluster site: of 3 pilots 2 run at the same time; partition p allows no more.",
    )
    assert findings(found, pilots=2, nodes=2).warnings == (
        "cluster site: of 2 pilots 1 run at the same time; partition p allows no more.",
    )
    assert findings(found, nodes=3).problems == (
        "cluster site: 3 x 4 GPUs: partition p allows 8. Lower --nodes or "
        "gpus_used_per_node, or use another QOS or partition.",
    )
    assert findings(found, pilots=4).problems == (
        "cluster site: --pilots 4: partition p takes 3 jobs of a user at a time. Use --pilots 3, "
        "or another QOS or partition.",
    )


def test_the_limits_of_a_partition_and_of_a_qos_both_hold() -> None:
    found = profile(
        partition={"default": "p", "known": {"p": {"max_nodes": 2}}},
        qos={"unnamed": "q", "known": {"q": {"max_nodes": 3}}},
    )

    assert len(findings(found, nodes=3).problems) == 1
    assert len(findings(found, nodes=4).problems) == 2


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"cpus_per_gpu": 9},
            "4 GPUs with 9 CPUs each are 36 CPUs, but a node has 32. Lower cpus_per_gpu to 8 or "
            "less.",
        ),
        (
            {"mem_per_gpu_mb": 1001},
            "4 GPUs with 1001 MiB of memory each are 4004 MiB, but a node gives 4000. Lower "
            "mem_per_gpu_mb to 1000 or less.",
        ),
    ],
)
def test_gpus_with_more_than_a_node_has_are_a_problem(keys: dict[str, Any], problem: str) -> None:
    assert findings(profile(**keys)).problems == (f"cluster site: {problem}",)


def test_a_gpu_with_more_memory_than_its_share_is_a_warning() -> None:
    found = findings(profile(gpus_used_per_node=2, mem_per_gpu_mb=1001))

    assert found.problems == ()
    assert found.warnings == (
        "cluster site: mem_per_gpu_mb is 1001, more than a GPU's share of the node, 1000 MiB: "
        "the site may bill for it.",
    )
    whole = findings(profile(gpus_used_per_node=2, mem_per_gpu_mb=1001, whole_nodes=True))
    assert [text for text in whole.warnings if "mem_per_gpu_mb" in text] == []


@pytest.mark.parametrize(
    ("ranks", "options", "problem"),
    [
        (
            8,
            {},
            "trial.ranks is 8, but a pilot has 1 x 4 GPUs, one for each rank. Use --nodes 2, or "
            "lower trial.ranks.",
        ),
        (
            9,
            {"nodes": 2},
            "trial.ranks is 9, but a pilot has 2 x 4 GPUs, one for each rank. Use --nodes 3, or "
            "lower trial.ranks.",
        ),
        (
            5,
            {"nodes": 2},
            "trial.ranks is 5, which 2 nodes of 4 GPUs cannot share evenly. Make it a multiple "
            "of the nodes that a trial needs.",
        ),
    ],
)
def test_trials_that_no_pilot_has_gpus_for_are_a_problem(
    ranks: int, options: dict[str, Any], problem: str
) -> None:
    found = findings(profile(), ranks=ranks, **options)

    assert found.problems == (f"cluster site: {problem}",)


def test_whole_nodes_of_which_few_gpus_are_used_are_a_warning() -> None:
    found = findings(profile(whole_nodes=True, gpus_used_per_node=1))

    assert found.warnings == (
        "cluster site: pilots take whole nodes: they hold 4 GPUs of each and use 1, and the site "
        "bills all of them. Set gpus_used_per_node: 4, or whole_nodes: false where the site "
        "allows it, in a profile of your own.",
    )
    (idle,) = findings(profile(whole_nodes=True), ranks=3).warnings
    assert "gpus_used_per_node: 3 in a profile of your own, with whole_nodes: false" in idle


def test_limits_hold_for_all_gpus_of_a_whole_node() -> None:
    """SLURM 22.05.8 leaves such a job waiting for ever with the reason QOSMaxGRESPerJob."""
    site = {"whole_nodes": True, "gpus_used_per_node": 2}

    per_job = findings(profile(**site, qos={"unnamed": "q", "known": {"q": {"max_gpus": 2}}}))
    per_user = findings(
        profile(**site, qos={"unnamed": "q", "known": {"q": {"max_gpus_per_user": 4}}}), pilots=2
    )

    assert "1 x 4 GPUs: QOS q allows 2" in per_job.problems[0]
    assert "of 2 pilots 1 run at the same time" in per_user.warnings[-1]


def test_one_of_several_partitions_is_enough() -> None:
    known = {"short": {"max_walltime_min": 30}, "long": {"max_walltime_min": 90}, "tiny": {}}
    found = profile(partition={"default": "short,long", "known": known})

    fits = findings(found)
    (too_long,) = fits.warnings

    assert fits.problems == ()
    assert "60 min are more than the 30 min that partition short allows" in too_long
    assert len(findings(found, walltime_min=91).problems) == 2
    (unknown,) = findings(found, partition="long,shor").problems
    assert "--partition shor: the profile knows no partition of this name" in unknown


@pytest.mark.parametrize(
    ("ranks", "nodes", "shared"),
    [(1, 1, 1), (4, 2, 1), (6, 2, 2), (8, 2, 2), (6, 3, 2), (9, 3, 3)],
)
def test_a_trial_takes_as_few_nodes_as_share_its_ranks_evenly(
    ranks: int, nodes: int, shared: int
) -> None:
    found = profile()
    shape = resolve_request(found, PilotRequest(nodes=nodes), {})

    assert nodes_of_trial(shape, TrialShape(ranks=ranks)) == shared


@pytest.mark.parametrize(
    ("ranks", "threads", "options", "warning"),
    [
        (
            3,
            1,
            {},
            "1 of 4 GPUs of each node stay idle with trials of 3 rank(s). Change trial.ranks, or "
            "set gpus_used_per_node: 3 in a profile of your own.",
        ),
        (
            6,
            1,
            {"nodes": 2},
            "1 of 4 GPUs of each node stay idle with trials of 6 rank(s). Change trial.ranks, or "
            "set gpus_used_per_node: 3 in a profile of your own.",
        ),
        (
            8,
            1,
            {"nodes": 3},
            "1 of 3 nodes stay idle, as each trial spans 2. Use --nodes 2.",
        ),
        (
            2,
            9,
            {},
            "trial.threads_per_rank is 9, which makes 36 threads on 32 CPUs of each node. Lower "
            "it, or raise cpus_per_gpu.",
        ),
        (
            1,
            1,
            {"pilots": 1002},
            "1002 pilots are submitted as 2 arrays, as one has at most 1001 jobs "
            "(max_array_size).",
        ),
    ],
)
def test_what_is_paid_for_and_not_used_is_a_warning(
    ranks: int, threads: int, options: dict[str, Any], warning: str
) -> None:
    found = findings(profile(), ranks=ranks, threads=threads, **options)

    assert found == Findings(problems=(), warnings=(f"cluster site: {warning}",))


@pytest.mark.parametrize(("ranks", "threads"), [(1, 8), (2, 8), (4, 8)])
def test_a_node_that_is_used_to_the_full_gives_no_warning(ranks: int, threads: int) -> None:
    assert findings(profile(), ranks=ranks, threads=threads) == NOTHING


def test_a_time_limit_with_nothing_to_train_in_is_a_problem() -> None:
    assert findings(profile(grace_s=120), walltime_min=3) == NOTHING
    assert findings(profile(grace_s=120), walltime_min=2).problems == (
        "cluster site: a time limit of 2 min leaves nothing to train in, as the last 120 s are "
        "kept free. Raise --time, or lower grace_s.",
    )


def test_all_problems_are_told_at_once() -> None:
    found = findings(
        leonardo(account=None, partition=profile().partition),
        ranks=16,
        qos="boost_qos_dbg",
        nodes=3,
        walltime_min=60,
    )

    # Account, ranks, time and nodes of the QOS, and its GPUs of a user: 12 of 8.
    assert len(found.problems) == 5


def test_a_run_folder_that_the_site_will_empty_is_a_warning(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    environment = {"CINECA_SCRATCH": str(scratch)}

    advice = folder_advice(leonardo(), scratch / "runs", environment)

    assert advice is not None
    assert "$CINECA_SCRATCH, where the site deletes files after 40 days" in advice
    assert folder_advice(leonardo(), tmp_path / "work", environment) is None
    assert folder_advice(leonardo(), scratch / "runs", {}) is None
    assert folder_advice(profile(), scratch / "runs", environment) is None


def test_the_threads_of_all_trials_on_a_gpu_need_cores() -> None:
    enough = of_trials(leonardo(), TrialShape(per_gpu=4, threads_per_rank=2))
    too_many = of_trials(leonardo(), TrialShape(per_gpu=4, threads_per_rank=4))

    assert not any("threads_per_rank" in warning for warning in enough.warnings)
    assert any(
        "trial.threads_per_rank is 4, which makes 64 threads on 32 CPUs" in warning
        for warning in too_many.warnings
    )
