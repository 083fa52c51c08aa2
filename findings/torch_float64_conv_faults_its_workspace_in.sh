#!/usr/bin/env bash
# A float64 convolution on the CPU has all pages of its workspace cleared by the kernel in each pass.
#
# One expects: after the first pass, a convolution of the same size uses the memory that the pass
# before has freed.
# Happens: for float64 there is no oneDNN kernel, so every window is copied into a workspace, which
# torch allocates in each call. Above 32 MiB glibc hands such a block back to the kernel at once,
# and the next pass faults each page in again: 18,432 faults of 4 KiB for 72 MiB, every time. With
# an input whose workspace stays below 32 MiB there are almost none.
# Matters: scores in float64 of images of a few hundred pixels a side spend most of their CPU time
# in the kernel, where a profile of the program does not show it; more threads do not help.
# Seen with torch 2.13.0 and glibc 2.36 on a CPU:
#     512 x 512: workspace 72 MiB, pages faulted in by passes 4 and 5: all of the workspace
#     128 x 128: workspace 4 MiB, pages faulted in by passes 4 and 5: less than a tenth of it
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'torch==2.13.0' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import resource
import sys

import torch

torch.set_num_threads(1)
MIB = 2**20
layer = torch.nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64)


def faulted(pixels: int) -> float:
    """Return the bytes that the passes 4 and 5 have faulted in, as a part of their workspaces."""
    image = torch.rand(1, 4, pixels, pixels, dtype=torch.float64)
    workspace = 4 * 9 * 8 * pixels**2
    before = 0
    with torch.inference_mode():
        for number in range(5):
            if number == 3:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            layer(image)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    part = pages * resource.getpagesize() / (2 * workspace)
    words = "all of the workspace" if part > 0.95 else f"{part:.2f} of it"
    words = "less than a tenth of it" if part < 0.1 else words
    print(f"{pixels} x {pixels}: workspace {workspace // MIB} MiB, ", end="")
    print(f"pages faulted in by passes 4 and 5: {words}")
    return part


large, small = faulted(512), faulted(128)
if large < 0.95 or small > 0.1:
    sys.exit("CHANGED: the workspace is kept, or is not kept where it is small")
PYTHON
cd "$folder"
env -u MALLOC_MMAP_MAX_ -u MALLOC_TRIM_THRESHOLD_ "$folder/venv/bin/python" shown.py
