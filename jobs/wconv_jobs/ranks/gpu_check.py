"""Checks that processes of this node can exchange tensors: a known sum over all GPUs.

`python -m wconv_jobs.ranks.gpu_check RANK SIZE PORT` is one of the processes. Rank r contributes
r + 1, so that the sum over n ranks is n (n + 1) / 2.
"""

import subprocess
import sys
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist

from wconv_jobs.ranks.rendezvous import LOOPBACK, join, rendezvous

_VALUES = 1 << 20
_CPU_RANKS = 2


@dataclass(frozen=True)
class GpuGroup:
    """The outcome of a group of processes."""

    torch: str
    """Version of torch."""
    gpus: tuple[str, ...]
    """Names of the GPUs that torch sees."""
    backend: str
    """nccl where there are GPUs, otherwise gloo."""
    ranks: int
    """Processes: one for each GPU, or two without one."""
    problem: str
    """Why they failed; empty on success."""


def gpu_count() -> int:
    """Return how many GPUs torch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_group(within_s: float) -> GpuGroup:
    """Let one process for each GPU of this node join a group and sum their numbers.

    Args:
        within_s: they are ended after this time, seconds.
    """
    count = gpu_count()
    gpus = tuple(torch.cuda.get_device_name(number) for number in range(count))
    ranks = count or _CPU_RANKS
    # One GPU makes a group, too, which a lone rank of a trial does not.
    with rendezvous(max(ranks, 2)) as port:
        problem = _run(ranks, port, within_s)
    return GpuGroup(torch.__version__, gpus, "nccl" if gpus else "gloo", ranks, problem)


def _run(ranks: int, port: int, within_s: float) -> str:
    """Return the failure; empty on success."""
    deadline = time.monotonic() + within_s
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "wconv_jobs.ranks.gpu_check", str(rank), str(ranks), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        for rank, process in enumerate(processes):
            _, said = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            if process.returncode:
                last = said.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
                return f"rank {rank}: {last[0]}"
    except subprocess.TimeoutExpired:
        return f"no sum within {within_s:g} s"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return ""


def main() -> None:
    """Run one process of the group; fail unless the sum is right."""
    rank, size, port = (int(word) for word in sys.argv[1:])
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    store = join(LOOPBACK, port)
    dist.init_process_group("nccl" if cuda else "gloo", store=store, rank=rank, world_size=size)
    values = torch.full((_VALUES,), float(rank + 1), device=device)
    dist.all_reduce(values)
    expected = size * (size + 1) / 2
    if not bool((values == expected).all()):
        sys.exit(f"the sum is {values[0].item():g}, not {expected:g}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
