"""What the commands of a real site have printed is read right."""

from pathlib import Path

import pytest

from tests.sweep.slurm.recorded import RecordedSlurm
from wconv_sweep.clusters.site_profile import make_profile
from wconv_sweep.slurm.clusters import not_followed
from wconv_sweep.slurm.site import ask_site

CONFIG = (
    "ClusterName = leonardo\nMaxArraySize = 1001\nMaxJobCount = 10000\nSLURM_VERSION = 24.11.5\n"
)
PARTITION = (
    "PartitionName=boost AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES QoS=N/A "
    "MaxNodes=UNLIMITED MaxTime=02:00:00 MinNodes=0 State=UP TotalNodes=1\n"
)
NODE = (
    "NodeName=n1 CPUAlloc=0 CPUEfctv=32 CPUTot=32 Gres=gpu:a100:4 RealMemory=128000 State=IDLE "
    "Partitions=boost\n"
)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedSlurm:
    slurm = RecordedSlurm(tmp_path / "bin", monkeypatch)
    slurm.says("scontrol", "show config", output=CONFIG)
    slurm.says("scontrol", "show partition", output=PARTITION)
    slurm.says("scontrol", "show node", output=NODE)
    slurm.says("sacctmgr", "show user", output="mine\n")
    slurm.says("sacctmgr", "show associations", output="mine||normal,rel|normal||||\n")
    return slurm


def test_limits_in_percent_are_left_out_of_a_profile_and_told(slurm: RecordedSlurm) -> None:
    """SLURM 24.11.5 printed both lines like this, `rel` with Flags=Relative."""
    slurm.says(
        "sacctmgr",
        "show qos",
        output="normal||00:00:00||||||||\n"
        "rel||00:00:00|||2|01:00:00|gres/gpu=25|gres/gpu=50,node=50||DenyOnLimit,Relative\n",
    )
    said: list[str] = []

    relative = next(qos for qos in ask_site().qos if qos.name == "rel")
    text = make_profile(say=said.append)

    assert (relative.max_gpus, relative.max_gpus_per_user, relative.max_nodes_per_user) == (
        None,
        None,
        None,
    )
    assert (relative.max_wall_min, relative.max_jobs_per_user) == (60, 2)
    assert "rel: {max_walltime_min: 60, max_running_jobs: 2}" in text
    assert said == [
        "QOS rel: its limits of GPUs and nodes are left out, because they are percentages "
        "(Flags=Relative)"
    ]


def test_a_release_that_knows_no_such_flag_has_numbers(slurm: RecordedSlurm) -> None:
    """SLURM 22.05.8 prints an empty last field."""
    slurm.says(
        "sacctmgr", "show qos", output="rel||00:00:00|||||gres/gpu=25|gres/gpu=50,node=50||\n"
    )

    (qos,) = ask_site().qos

    assert (qos.max_gpus, qos.max_gpus_per_user, qos.max_nodes_per_user) == (25, 50, 50)


def test_every_fact_is_asked_of_the_cluster_that_is_named(slurm: RecordedSlurm) -> None:
    slurm.says("sacctmgr", "show qos")

    ask_site("leonardo")

    assert all(" --clusters=leonardo " in f"{call} " for call in slurm.calls("scontrol"))
    # sacctmgr has no such option. Without the filter it tells the account of another cluster.
    of_user = [call for call in slurm.calls("sacctmgr") if "show qos" not in call]
    assert [" cluster=leonardo " in call for call in of_user] == [True, True]


def test_a_variable_that_names_the_cluster_of_this_machine_is_no_warning(
    slurm: RecordedSlurm,
) -> None:
    assert not_followed(None, {"SLURM_CLUSTERS": "Leonardo"}) is None
    assert not_followed("leonardo", {"SLURM_CLUSTERS": "Leonardo"}) is None
    assert not_followed(None, {"SLURM_CLUSTERS": "far"}) == (
        "SLURM_CLUSTERS is far, which is not followed: jobs go to the cluster of this machine"
    )
    assert not_followed(None, {"SLURM_CLUSTERS": " "}) is None
    # Asked for its name twice.
    assert slurm.calls() == ["scontrol show config"] * 2
