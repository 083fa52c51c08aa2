"""What a rank prints is in its log at once: a rank that is killed has no time to write it."""

import contextlib
import ctypes
import io
import sys

_LINE_BUFFERED = 1
"""_IOLBF of setvbuf(3), in glibc and musl."""


def print_lines_at_once() -> None:
    """Write each line that this process prints when it ends, as to a terminal.

    To a file, Python and C keep 4 to 8 KB back. That goes for NCCL, whose debug output C prints.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    libc = ctypes.CDLL(None)
    # Another C library has its own name for it.
    with contextlib.suppress(ValueError):
        libc.setvbuf(
            ctypes.c_void_p.in_dll(libc, "stdout"), None, _LINE_BUFFERED, ctypes.c_size_t()
        )
