#!/usr/bin/env bash
# F.interpolate(mode="nearest") takes another pixel than floor(i * a / b) for 1,076 pairs of sizes.
#
# One expects: the documented rule, pixel floor(i * a / b) of the smaller picture for pixel i of
# b.
# Happens: the scale a / b is rounded to float32 before it is multiplied, so where i * a / b is a
# whole number, the product can fall just short of it and the pixel before is taken. It happens
# for 1,076 of 44,592 pairs 1 <= a <= 96, a <= b <= 512; the first is 2 to 82. float64 inputs of
# one dimension have none. "nearest-exact" follows another rule (the middle of pixels) and is no
# substitute.
# Matters: networks that scale features up by factors that are no power of two (global context,
# pyramid pooling) shift single columns against an implementation in integers, in another
# framework, or on another device, and a comparison "to rounding" fails.
# Seen with torch 2.13.0 on a CPU:
#     float32: 1076 of 44592 pairs, the first 2 82 pixel 41: 0 instead of 1
#     float64: 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'torch==2.13.0' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

import torch
from torch.nn import functional as F


def differing(dtype: torch.dtype) -> list[tuple[int, int]]:
    found = []
    for a in range(1, 97):
        pixels = torch.arange(a, dtype=dtype)[None, None]
        for b in range(a, 513):
            rule = torch.arange(b) * a // b
            taken = F.interpolate(pixels, size=b, mode="nearest")[0, 0].long()
            if not torch.equal(taken, rule):
                found.append((a, b))
    return found


pairs = differing(torch.float32)
taken = F.interpolate(torch.arange(2.0)[None, None], size=82, mode="nearest")[0, 0]
print("float32:", len(pairs), "of 44592 pairs, the first", *pairs[0], end=" ")
print("pixel 41:", int(taken[41]), "instead of 1")
double = differing(torch.float64)
print("float64:", len(double))
if not pairs or pairs[0] != (2, 82) or double:
    sys.exit("CHANGED: other pairs differ")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
