"""What the site says is read right: the numbers of the test cluster, and of none."""

import pytest

from tests.slurm.box import SlurmBox
from wconv_sweep.errors import SlurmError
from wconv_sweep.slurm.site import NodeKind, ask_site

pytestmark = pytest.mark.slow


def test_the_site_tells_its_partitions_and_limits(box: SlurmBox) -> None:
    site = ask_site()

    assert (site.cluster, site.max_array_size, site.max_job_count) == ("testbox", 1001, 5000)
    assert site.version == box.run("scontrol", "--version").split()[-1]
    with_gpus = NodeKind(nodes=2, cpus=32, mem_mb=128_000, gpus=4, gpu_kind="")
    without = NodeKind(nodes=1, cpus=32, mem_mb=128_000, gpus=0, gpu_kind="")
    assert {found.name: found.kinds for found in site.partitions} == {
        "serial": (without,),
        "gpu": (with_gpus,),
        "gpu_short": (NodeKind(nodes=1, cpus=32, mem_mb=128_000, gpus=4, gpu_kind=""),),
    }
    assert [found.name for found in site.partitions if found.default] == ["serial"]
    assert {found.name: found.max_time_min for found in site.partitions} == {
        "serial": 240,
        "gpu": 1440,
        "gpu_short": 60,
    }


def test_accounting_tells_what_the_user_may_do(box: SlurmBox) -> None:
    site = ask_site()

    assert site.warnings == ()
    (association,) = (found for found in site.associations if found.account == "wconv")
    assert association.default
    assert set(association.qos) == {"normal", "debug", "urgent", "patient", "hasty", "few"}
    qos = {found.name: found for found in site.qos}
    assert qos["few"].max_submit_per_user == 2
    assert (qos["debug"].max_wall_min, qos["debug"].max_gpus_per_user) == (30, 4)
    assert qos["debug"].max_jobs_per_user == 1
    assert set(qos["urgent"].preempts) == {"patient", "hasty"}
    assert (qos["patient"].grace_s, qos["hasty"].grace_s) == (20, 0)
    assert qos["normal"].max_submit_per_user is None


def test_accounting_that_is_away_is_a_warning(box: SlurmBox) -> None:
    box.kill("slurmdbd")
    site = ask_site()

    assert site.partitions
    assert (site.associations, site.qos) == ((), ())
    (warning,) = site.warnings
    assert warning.startswith("accounts, QOS and their limits are unknown: sacctmgr")


def test_a_controller_that_is_away_is_named_with_its_own_words(box: SlurmBox) -> None:
    box.kill("slurmctld")
    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        ask_site()


def test_variables_that_change_what_slurm_prints_change_nothing(
    box: SlurmBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask_site()
    for name, text in {
        "SINFO_FORMAT": "%N",
        "SINFO_PARTITION": "serial",
        "SLURM_CLUSTERS": "x",
    }.items():
        monkeypatch.setenv(name, text)

    assert ask_site() == expected
    assert ask_site(box.site.cluster) == expected
