"""From a launch to a complete study: several nodes, several ranks, trials that span nodes."""

from contextlib import ExitStack

import pytest

from tests.slurm.processes import ranks_among, stopped, wait_until
from tests.slurm.studies import ClusterStudy, results_of, trained_locally
from tests.sweep.tiny import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def study(cluster_study: ClusterStudy) -> ClusterStudy:
    """A study folder with the profile that `clusters init` makes of the cluster."""
    (cluster_study.folder / "box.yaml").unlink()
    cluster_study.run("clusters", "init", "--output", "box.yaml")
    return cluster_study


def test_trials_of_two_ranks_fill_two_nodes_and_end_with_the_numbers_they_have_locally(
    study: ClusterStudy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sections = {
        "data": {"name": "photographs", "options": {"crop_px": 32, "crops_per_epoch": 128}},
        "recipe": TINY["recipe"] | {"epochs": 6},
        "budget": {"trials": 5},
        "trial": {"ranks": 2},
    }
    study.write_study(**sections)

    # The canary alone, then two trials of two GPUs on each of the two nodes.
    study.launch("--nodes", "2")
    most: dict[str, int] = {}
    wait_until(study.received, "the canary has trained an epoch", within_s=180)
    with ExitStack() as frozen:

        def on_both_nodes() -> bool:
            # Those that come first stand still, or they end before the others have come.
            frozen.enter_context(stopped(ranks_among(study.processes())))
            held = study.held()
            most.update({node: sum(row.node == node for row in held) for node in study.box.nodes})
            return len(held) == 4

        wait_until(on_both_nodes, "four trials at once", within_s=180)
    status = study.await_end()

    assert most == dict.fromkeys(study.box.nodes, 2)
    assert results_of(status) == trained_locally(tmp_path_factory.mktemp("local"), **sections)
    (job,) = {row.owner.split("/")[0].removeprefix("slurm-") for row in study.attempts()}
    wait_until(lambda: study.box.states(job) == ["COMPLETED"], "accounting has heard of the end")


def test_a_trial_of_eight_ranks_spans_both_nodes_and_ends_with_the_numbers_it_has_locally(
    study: ClusterStudy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sections = {"budget": {"trials": 1}, "trial": {"ranks": 8}}
    study.write_study(**sections)

    study.launch("--nodes", "2")
    wait_until(lambda: bool(study.held()), "the trial is at work", within_s=180)
    ranks: dict[str, int] = {}

    def four_on_each() -> bool:
        ranks.update({node: len(study.ranks_on(node)) for node in study.box.nodes})
        return ranks == dict.fromkeys(study.box.nodes, 4)

    wait_until(four_on_each, "four ranks on each node", within_s=180)
    status = study.await_end()

    local = trained_locally(tmp_path_factory.mktemp("local"), **sections)
    assert [row[:4] for row in results_of(status)] == [row[:4] for row in local]
    for (*_, value, metrics), (*_, local_value, local_metrics) in zip(
        results_of(status), local, strict=True
    ):
        # On more than two ranks the order of sums is not fixed.
        assert value == pytest.approx(local_value, rel=1e-9)
        assert metrics == pytest.approx(local_metrics, rel=1e-9)
