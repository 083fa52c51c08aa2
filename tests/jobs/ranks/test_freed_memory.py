"""What tensors have freed is used again, instead of pages that the kernel has to clear."""

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, torch
from wconv_jobs.ranks.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        tensors = [torch.ones(16 * 1024, 256) for _ in range(8)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

returned = faults()
keep_freed_memory()
faults()
print(returned, faults())
"""


@pytest.mark.slow
def test_tensors_take_the_pages_of_those_before() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env={},  # where the test run sets its own limits
    )
    returned, kept = map(int, ended.stdout.split())

    # 8 x 16 MiB are 32,768 pages of 4 KiB, or 64 of 2 MiB.
    assert returned >= 3 * 64
    assert kept <= 20
