"""Recognizes that memory ran out, on the GPU or the host, and says what to do about it."""

import errno
import re
from pathlib import Path

from wconv_jobs.messages import Broken

GPU_MEMORY_RAN_OUT = "GpuMemoryRanOut"
HOST_MEMORY_RAN_OUT = "HostMemoryRanOut"

_WHERE = "rank process"
"""Replaces the line of the failed allocation, which differs from trial to trial."""

_GPU_TEXT = re.compile(
    r"\b(CUDA|HIP|NCCL|cuDNN|CUBLAS)\b.*(out of memory|ALLOC_FAILED)", re.I | re.S
)
_HOST_TEXT = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|cannot allocate memory"
    # oneDNN, in a backward pass; without a primitive descriptor, it lacks the operation instead.
    r"|could not create a primitive(?! desc)"
    # Python: there is no room for a stack, or no more processes may be made.
    r"|can't start new thread",
    re.I,
)
_ADVICE = {
    GPU_MEMORY_RAN_OUT: "GPU memory ran out ({}). Use fewer samples per batch "
    "(recipe.batch_size), more GPUs per trial (trial.ranks), or recipe.amp: bfloat16.",
    HOST_MEMORY_RAN_OUT: "host memory ran out ({}). Use fewer pilots or ranks on a node "
    "(trial.ranks), a smaller recipe.batch_size, or smaller images, or ask for more memory.",
}


def memory_failure(error: Exception, rank: int) -> Broken | None:
    """Return the end of a rank whose exception says that memory ran out; None for others."""
    name = _kind(error)
    if name is None:
        return None
    text = str(error).strip() or type(error).__name__
    traceback = Broken.of(error, rank).traceback
    return ran_out(name, text.splitlines()[0].rstrip("."), rank, traceback)


def ran_out(name: str, how: str, rank: int, traceback: str = "") -> Broken:
    """Return the end of a rank without memory; equal ones have equal names and the same `where`.

    Args:
        name: `GPU_MEMORY_RAN_OUT` or `HOST_MEMORY_RAN_OUT`.
        how: the observation.
        rank: number of the rank.
        traceback: where there is one.
    """
    return Broken(
        rank=rank,
        error=name,
        reason=_ADVICE[name].format(how),
        where=_WHERE,
        traceback=traceback,
    )


def oom_kills(root: Path = Path("/")) -> int | None:
    """Return how often the kernel has killed a process of this control group for its memory.

    None if that is unknown. The count of a group holds those of the groups below it.

    Args:
        root: of the file system; for tests.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return None
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            events = root / "sys/fs/cgroup" / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            events = root / "sys/fs/cgroup/memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        try:
            count = re.search(r"^oom_kill (\d+)$", events.read_text("utf-8"), re.MULTILINE)
        except OSError:
            continue
        if count:
            return int(count.group(1))
    return None


def _kind(error: BaseException | None) -> str | None:
    import torch  # here: an agent watches the memory of its ranks without

    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return GPU_MEMORY_RAN_OUT
        if isinstance(error, MemoryError):
            return HOST_MEMORY_RAN_OUT
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return HOST_MEMORY_RAN_OUT
        if isinstance(error, RuntimeError):
            if _GPU_TEXT.search(str(error)):
                return GPU_MEMORY_RAN_OUT
            if _HOST_TEXT.search(str(error)):
                return HOST_MEMORY_RAN_OUT
        error = error.__cause__
    return None
