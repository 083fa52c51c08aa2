"""On the CPU, keeps the memory that tensors have freed for those that come next.

glibc hands the end of its heap back to the kernel as soon as much of it is free, and the kernel
clears each page of it before the next tensor: with large images, that takes 40 % of the time of a
forward pass (`tests/benchmarks/freed_memory.py`). See mallopt(3).
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER_BYTES = 2**31 - 1
_LARGEST_BYTES = 2**25
"""Of a block in the heap; glibc takes no more. Larger blocks go back to the kernel as ever: in the
heap, where each leaves a hole that the next one does not fit, they would double the memory."""


def keep_freed_memory() -> None:
    """Let this process, and those that it forks, return no blocks of up to 32 MiB to the kernel.

    Other libraries than glibc stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
