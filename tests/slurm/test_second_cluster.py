"""Pilots on another cluster than that of the machine that the commands are called on."""

import pytest

from tests.slurm.box import SlurmBox
from tests.slurm.second import second_cluster
from tests.slurm.sweeping import SlurmSweep

pytestmark = pytest.mark.slow


def test_pilots_are_submitted_counted_and_cancelled_on_the_cluster_of_the_profile(
    slurm_sweep: SlurmSweep, box: SlurmBox
) -> None:
    slurm_sweep.study(budget={"trials": 12})
    with second_cluster(box) as far:
        name = far.site.cluster
        slurm_sweep.profile(gpus_used_per_node=1, slurm_cluster=name)

        said = slurm_sweep.launch("--pilots", "3")
        there, here = far.queue(), box.queue()
        pilots = slurm_sweep.status()["pilots"]
        stopped = slurm_sweep.run("stop", "--study", "tiny", "--now")
        left = far.queue()

    assert "tiny: 3 pilot(s) submitted" in said
    assert ([queued.state for queued in there], here) == (["PENDING"] * 3, [])
    assert [each["job"] for each in pilots["alive"]] == [queued.id for queued in there]
    assert pilots["warnings"] == []
    assert "tiny: 3 job(s) cancelled." in stopped
    assert left == []
