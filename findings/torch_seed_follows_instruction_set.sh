#!/usr/bin/env bash
# The same seed gives other initial weights in torch on a CPU without AVX2.
#
# One expects: numbers drawn on the CPU with a seeded generator are the same on every x86 machine.
# Happens: those of `torch.rand` and `randperm` are, but the default initial weights of a
# convolution (`uniform_(a, b)`) and `normal_` of 16 or more values differ in their last bits
# between code for AVX2 and code for any CPU.
# Matters: "seeded" runs cannot be compared bit by bit between an old and a new machine, or with a
# build that lacks vector code. ATEN_CPU_CAPABILITY=default shows it on one machine with AVX2.
# Seen with torch 2.13.0:
#     rand of 1000: 0 of 1000 differ
#     randperm of 1000: 0 of 1000 differ
#     normal_ of 9: 0 of 9 differ
#     normal_ of 1728: 608 of 1728 differ
#     weights of Conv2d(64, 64, 3): 15442 of 36864 differ
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'torch==2.13.0' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/drawn.py" <<'PYTHON'
import sys

import torch


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def initial_weights() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.nn.Conv2d(64, 64, 3).weight.detach()


drawn = {
    "rand of 1000": torch.rand(1000, generator=seeded()),
    "randperm of 1000": torch.randperm(1000, generator=seeded()),
    "normal_ of 9": torch.empty(9).normal_(generator=seeded()),
    "normal_ of 1728": torch.empty(1728).normal_(0, 0.1, generator=seeded()),
    "weights of Conv2d(64, 64, 3)": initial_weights(),
}
torch.save(drawn, sys.argv[1])
PYTHON
cat > "$folder/shown.py" <<'PYTHON'
import sys

import torch

plain, vectors = (torch.load(name) for name in ("default.pt", "avx2.pt"))
different = {name: int((plain[name] != vectors[name]).sum()) for name in plain}
for name, count in different.items():
    print(f"{name}: {count} of {plain[name].numel()} differ")
if not any(different.values()):
    sys.exit("CHANGED: a seed means the same everywhere, or this CPU lacks AVX2")
PYTHON
cd "$folder"
for capability in default avx2; do
  ATEN_CPU_CAPABILITY=$capability "$folder/venv/bin/python" drawn.py "$capability.pt"
done
"$folder/venv/bin/python" shown.py
