"""The kernel's count of processes that it killed for their memory, and texts that tell of it."""

from pathlib import Path

import pytest

from wconv_jobs.ranks.out_of_memory import memory_failure, oom_kills


def _write(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content, "utf-8")


def test_the_kernels_count_is_read_from_the_processes_own_group(tmp_path: Path) -> None:
    _write(tmp_path, "proc/self/cgroup", "0::/slurm/job_7/step_0\n")
    events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"
    _write(tmp_path, "sys/fs/cgroup/slurm/job_7/step_0/memory.events", events)

    assert oom_kills(tmp_path) == 2


def test_the_kernels_count_is_read_from_the_older_kind_of_group(tmp_path: Path) -> None:
    _write(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/slurm\n4:memory:/slurm/job_7\n")
    content = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
    _write(tmp_path, "sys/fs/cgroup/memory/slurm/job_7/memory.oom_control", content)

    assert oom_kills(tmp_path) == 3


def test_without_a_count_nothing_is_leased(tmp_path: Path) -> None:
    nothing = oom_kills(tmp_path)
    _write(tmp_path, "proc/self/cgroup", "0::/\n")
    unreadable = oom_kills(tmp_path)

    assert (nothing, unreadable) == (None, None)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "GpuMemoryRanOut"),
        (RuntimeError("CUDA error: out of memory\nCompile with ..."), "GpuMemoryRanOut"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
         "HostMemoryRanOut"),
        (OSError(12, "Cannot allocate memory"), "HostMemoryRanOut"),
        (MemoryError(), "HostMemoryRanOut"),
        (RuntimeError("could not create a primitive"), "HostMemoryRanOut"),
        (RuntimeError("can't start new thread"), "HostMemoryRanOut"),
    ],
)  # fmt: skip
def test_memory_that_ran_out_has_a_name_of_its_own(error: Exception, name: str) -> None:
    failure = memory_failure(error, rank=1)

    assert failure is not None
    assert (failure.error, failure.rank) == (name, 1)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        RuntimeError("could not create a primitive descriptor for a convolution"),
        OSError(2, "No such file"),
    ],
)
def test_other_failures_keep_their_names(error: Exception) -> None:
    assert memory_failure(error, rank=0) is None


def test_the_cause_of_an_exception_counts() -> None:
    try:
        try:
            raise MemoryError("no room")
        except MemoryError as error:
            raise ValueError("cannot load") from error
    except ValueError as error:
        failure = memory_failure(error, rank=0)

    assert failure is not None
    assert failure.error == "HostMemoryRanOut"
