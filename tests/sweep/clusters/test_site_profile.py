"""A new profile holds what the site told, and every fact has its source."""

import datetime
from dataclasses import replace
from pathlib import Path

from tests.sweep.sites import FOUR_GPUS, LARGE, SITE, association, partition, qos
from wconv_sweep.clusters.profile import SlurmProfile, load_profile
from wconv_sweep.clusters.site_choice import choose
from wconv_sweep.clusters.site_facts import Limits
from wconv_sweep.clusters.site_profile import profile_text
from wconv_sweep.clusters.sources import sources_of
from wconv_sweep.slurm.site import Site

TODAY = datetime.date(2026, 1, 31)


def profile_of(site: Site, folder: Path) -> SlurmProfile:
    path = folder / "new.yaml"
    path.write_text(profile_text(site, choose(site), "new", TODAY), "utf-8")
    profile = load_profile(str(path))
    assert isinstance(profile, SlurmProfile)
    return profile


def test_every_fact_has_a_source_with_its_date(tmp_path: Path) -> None:
    profile = profile_of(SITE, tmp_path)

    sources = sources_of(profile)
    assert sources["gpus_per_node"] is not None
    assert sources["gpus_per_node"].source == "scontrol show node (SLURM 23.11.4)"
    for fact, source in sources.items():
        assert source is not None, fact
        assert (source.date, source.verified) == (TODAY, True)


def test_nodes_and_limits_are_the_sites(tmp_path: Path) -> None:
    profile = profile_of(SITE, tmp_path)

    assert (profile.gpus_per_node, profile.cpus_per_node, profile.mem_per_node_mb) == (
        4,
        32,
        512_000,
    )
    assert (profile.cpus_per_gpu, profile.mem_per_gpu_mb) == (8, 128_000)
    assert (profile.account, profile.partition.default) == ("mine", "large")
    assert profile.partition.known == {
        "large": Limits(max_walltime_min=1440),
        "small": Limits(max_walltime_min=1440),
    }
    assert profile.partition.site_default_has_gpu is None
    assert profile.max_array_size == 1001


def test_the_tightest_of_all_limits_counts(tmp_path: Path) -> None:
    account = replace(association("mine"), max_submit_jobs=5, max_wall_min=90, max_jobs=7)
    normal = replace(qos("normal"), max_submit_per_user=9, max_wall_min=120, max_jobs_per_user=3)
    of_partition = replace(qos("inside"), max_wall_min=60, max_gpus_per_user=8, max_nodes=2)
    site = replace(
        SITE,
        partitions=(replace(LARGE, qos="inside", max_nodes=3),),
        associations=(account,),
        qos=(normal, qos("long"), of_partition),
    )

    profile = profile_of(site, tmp_path)

    assert profile.qos.known["normal"] == Limits(
        max_submit_jobs=5, max_walltime_min=90, max_running_jobs=3
    )
    assert profile.qos.unnamed == "normal"
    assert profile.partition.known["large"] == Limits(
        max_walltime_min=60, max_nodes=2, max_gpus_per_user=8
    )
    assert profile.walltime_min == 60


def test_one_kind_of_gpu_is_asked_for_where_there_are_several(tmp_path: Path) -> None:
    other = replace(FOUR_GPUS, nodes=1, gpu_kind="h100")
    mixed = replace(SITE, partitions=(partition("mixed", FOUR_GPUS, other),))

    assert profile_of(mixed, tmp_path).gpu_type == "a100"
    assert profile_of(SITE, tmp_path).gpu_type is None


def test_without_accounting_the_profile_asks_for_an_account(tmp_path: Path) -> None:
    silent = replace(SITE, associations=(), qos=())

    profile = profile_of(silent, tmp_path)

    assert (profile.account, profile.qos.known) == (None, {})
    text = (tmp_path / "new.yaml").read_text("utf-8")
    assert "# Name one here, with --account or with WCONV_SWEEP_ACCOUNT.\naccount: null\n" in text


def test_a_qos_that_takes_no_job_is_left_out(tmp_path: Path) -> None:
    closed = replace(SITE, qos=(qos("normal"), replace(qos("long"), max_submit_per_user=0)))

    assert list(profile_of(closed, tmp_path).qos.known) == ["normal"]


def test_preemption_is_told_in_a_comment() -> None:
    lender, owner = replace(qos("long"), grace_s=30), replace(qos("normal"), preempts=("long",))
    site = replace(SITE, qos=(lender, owner))

    text = profile_text(site, choose(site), "new", TODAY)

    assert "Jobs of long are preempted by those of normal 30 s after a signal." in text.replace(
        "\n# ", " "
    )
