"""A pilot on this machine trains as many trials side by side as cores and memory allow."""

import os
from pathlib import Path
from typing import Any

import pytest

from wconv_sweep.clusters.profile import LocalProfile
from wconv_sweep.pilots.machine import (
    cores_of_pilot,
    free_memory_mb,
    lanes_of_pilot,
    usable_cores,
    within_memory,
)
from wconv_sweep.pilots.order import PilotOrder
from wconv_sweep.study.config import TrialShape


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine of 8 cores and 5 GiB, where the process is in a container."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  9000000 kB\nMemAvailable:  5242880 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/box/app\n")
    group = tmp_path / "sys/fs/cgroup/box/app"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    return tmp_path


def profile(**keys: Any) -> LocalProfile:
    """Return a profile without GPUs."""
    plain = {"schema": 1, "cluster": "here", "launcher": "local", "walltime_min": 60}
    return LocalProfile.model_validate({**plain, "pilots": 1, "gpus_per_pilot": 0, **keys})


@pytest.mark.parametrize(
    ("keys", "shape", "lanes"),
    [
        ({}, {}, 5),  # by memory: 5 GiB
        ({}, {"threads_per_rank": 2}, 4),  # by cores
        ({}, {"ranks": 2}, 2),
        ({"pilots": 2}, {}, 2),
        ({"pilots": 100}, {}, 1),
        ({}, {"ranks": 64}, 1),
        ({"lanes": 7}, {"ranks": 2}, 7),
    ],
)
def test_trials_side_by_side_follow_from_cores_and_memory_unless_the_profile_says(
    keys: dict[str, Any], shape: dict[str, Any], lanes: int, machine: Path
) -> None:
    assert lanes_of_pilot(profile(**keys), TrialShape(**shape), machine) == lanes


@pytest.mark.parametrize(
    ("facts", "shape", "lanes"),
    [
        ({"lanes": 32}, {}, 5),
        ({"lanes": 32}, {"ranks": 2}, 2),
        ({"lanes": 3}, {}, 3),
        ({"lanes": 1}, {"ranks": 8}, 1),
        # Counted where it was launched, or the profile says; with GPUs, they tell.
        ({"launcher": "local", "lanes": 32}, {}, 32),
        ({"lanes": 32, "gpus_used_per_node": 4}, {}, 32),
    ],
)
def test_a_job_on_cpus_trains_no_more_at_once_than_its_node_has_memory_for(
    facts: dict[str, Any], shape: dict[str, Any], lanes: int, machine: Path
) -> None:
    whole: dict[str, Any] = {"launcher": "slurm", "gpus_used_per_node": 0, "gpus_held_per_node": 4}
    rest: dict[str, Any] = {"study": "tiny", "storage": "", "run_folder": Path("runs"), "pilot": 0}
    order = PilotOrder(**rest, **whole | facts, lease_s=60.0, grace_s=60.0, walltime_s=60.0)

    assert within_memory(order, TrialShape(**shape), machine).lanes == lanes


@pytest.mark.parametrize(
    ("variables", "memory_mb"),
    [
        ({}, 5120),
        ({"SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "8"}, 4000),
        ({"SLURM_MEM_PER_NODE": "2048"}, 2048),
        ({"SLURM_MEM_PER_NODE": "0"}, 5120),  # all that the node has
        ({"SLURM_MEM_PER_NODE": "64000"}, 5120),
    ],
)
def test_a_job_has_no_more_memory_than_slurm_gives_it(
    variables: dict[str, str], memory_mb: int, machine: Path
) -> None:
    assert free_memory_mb(machine, variables) == memory_mb


def test_pilots_share_the_cores(machine: Path) -> None:
    assert cores_of_pilot(profile(pilots=3), machine) == 2
    assert cores_of_pilot(profile(pilots=9), machine) == 1


def test_a_container_may_have_less_than_it_sees(machine: Path) -> None:
    above = machine / "sys/fs/cgroup/box"
    (above / "cpu.max").write_text("250000 100000\n")
    (above / "memory.max").write_text(f"{3 * 2**30}\n")
    (above / "memory.current").write_text(f"{2 * 2**30}\n")
    # A gigabyte of files that were read is given back when it is needed.
    (above / "memory.stat").write_text(f"anon {2**30}\ninactive_file {2**30}\n")

    assert usable_cores(machine) == 2
    assert free_memory_mb(machine) == 2048

    (above / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(machine) == 1


def test_this_machine_has_cores_and_memory() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert free_memory_mb() > 0
