"""Programs of the user's as trials on the test cluster; see also tests/slurm/test_faults.py."""

from typing import Any

import pytest

from tests.slurm.processes import wait_until
from tests.slurm.studies import EPOCHS, ClusterStudy, results_of, worked_out
from tests.slurm.sweeping import slow_program

SECTIONS: dict[str, Any] = slow_program(batch_s=0.03, epochs=EPOCHS) | {
    "search": {
        "bounds": [[0.5, 1.5]],
        "sampler": {"name": "random"},
        "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 2},
    },
    "budget": {"trials": 3},
    "trial": {"ranks": 2},
}


@pytest.mark.slow
def test_a_program_on_two_nodes_is_stopped_resumed_and_pruned_and_leaves_nothing(
    cluster_study: ClusterStudy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = worked_out(tmp_path_factory.mktemp("program"), **SECTIONS)
    study = cluster_study
    study.write_study(**SECTIONS)
    study.profile(gpus_used_per_node=1)  # so that the two ranks of a trial take two nodes

    study.launch("--nodes", "2")
    with study.frozen() as victim:
        ranks = {node: len(study.ranks_on(node)) for node in study.box.nodes}
        study.run("stop", "--study", "tiny")
    wait_until(lambda: not study.jobs(), "the pilot has ended")
    wait_until(lambda: not study.processes(), "no process is left of a stopped study")
    stopped = study.attempts_of(victim)
    study.run("resume", "--study", "tiny")
    status = study.await_end()

    assert ranks == dict.fromkeys(study.box.nodes, 1)
    assert stopped == [("interrupted", "stopped at a checkpoint")]
    assert results_of(status) == expected
    assert sorted(str(row.state) for row in status.trials) == ["complete", "complete", "pruned"]
    wait_until(lambda: not study.processes(), "no process is left")
