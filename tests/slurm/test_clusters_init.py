"""`clusters init` writes a profile of the cluster at hand that a launch can use."""

import os
from pathlib import Path

import pytest

from tests.slurm.box import SlurmBox
from tests.slurm.test_batch import wrap
from tests.sweep.tiny import run
from wconv_sweep.clusters.profile import SlurmProfile, load_profile
from wconv_sweep.clusters.site_facts import Limits

pytestmark = pytest.mark.slow


def test_the_profile_holds_the_numbers_of_the_cluster(
    box: SlurmBox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "mine.yaml"

    status, output, errors = run(
        monkeypatch, capsys, "clusters", "init", "--name", "mine", "--output", str(path)
    )

    assert (status, errors) == (0, "")
    assert f"Launch with --cluster {path}" in output
    assert "\n# yaml-language-server: $schema=file:///" in path.read_text("utf-8")
    profile = load_profile(str(path))
    assert isinstance(profile, SlurmProfile)
    assert profile.cluster == "mine"
    assert profile.account == "wconv"
    assert profile.partition.default == "gpu"
    assert profile.partition.site_default_has_gpu is False
    assert profile.partition.known == {
        "gpu": Limits(max_walltime_min=1440),
        "gpu_short": Limits(max_walltime_min=60),
    }
    assert profile.qos.unnamed == "normal"
    assert profile.qos.known["few"] == Limits(max_walltime_min=60, max_submit_jobs=2)
    assert profile.qos.known["debug"] == Limits(
        max_walltime_min=30, max_gpus_per_user=4, max_running_jobs=1
    )
    assert (profile.gpus_per_node, profile.cpus_per_gpu) == (4, 8)
    assert (profile.mem_per_gpu_mb, profile.max_array_size) == (32_000, 1001)


def test_another_partition_and_the_screen(
    box: SlurmBox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, output, _ = run(monkeypatch, capsys, "clusters", "init", "--partition", "gpu_short")

    assert status == 0
    assert output.startswith("# testbox: ")
    assert "\nwalltime_min: 60\n" in output
    assert "default: gpu_short" in output


def test_a_file_that_exists_is_not_overwritten(
    box: SlurmBox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious", "utf-8")

    status, _, errors = run(monkeypatch, capsys, "clusters", "init", "--output", str(path))

    assert status == 2
    assert "already exists" in errors
    assert path.read_text("utf-8") == "precious"


def test_without_accounting_a_profile_is_made_with_a_warning(
    box: SlurmBox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box.kill("slurmdbd")

    status, output, errors = run(monkeypatch, capsys, "clusters", "init")

    assert status == 0
    assert errors.startswith("warning: accounts, QOS and their limits are unknown: sacctmgr")
    assert "\naccount: null\n" in output


def test_notices_of_a_site_stand_in_no_profile(
    box: SlurmBox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = run(monkeypatch, capsys, "clusters", "init")
    for program in ("scontrol", "sacctmgr"):
        wrap(monkeypatch, tmp_path / "bin", program, 'echo; echo "Welcome"; $REAL "$@"')

    assert run(monkeypatch, capsys, "clusters", "init") == before


def test_an_answer_that_is_none_of_slurms_is_shown(
    box: SlurmBox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrap(monkeypatch, tmp_path / "bin", "scontrol", "echo 'Use the new portal.'")

    status, _, errors = run(monkeypatch, capsys, "clusters", "init")

    assert (status, errors.count("\n")) == (2, 1)
    assert "scontrol show config printed 'Use the new portal.', which SLURM itself" in errors


def test_a_user_without_an_entry_on_the_machine_gets_a_profile(
    box: SlurmBox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    for name in ("LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)

    status, output, errors = run(monkeypatch, capsys, "clusters", "init")

    assert (status, errors) == (0, "")
    assert "\naccount: null\n" in output


def test_without_slurm_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    status, _, errors = run(monkeypatch, capsys, "clusters", "init")

    assert status == 2
    assert errors.count("\n") == 1
    assert "there is no such command. Call from a login node" in errors
