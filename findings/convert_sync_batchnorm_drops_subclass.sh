#!/usr/bin/env bash
# convert_sync_batchnorm replaces subclasses of BatchNorm and drops what they add.
#
# One expects: `nn.SyncBatchNorm.convert_sync_batchnorm` changes how statistics are taken, and
# nothing else; a layer that it does not know stays as it is.
# Happens: it replaces every instance of BatchNorm *and of its subclasses* by a plain
# SyncBatchNorm. Libraries of networks fuse the activation into a subclass whose forward ends
# with it: after the conversion the activation is gone, the network is another one, and nothing
# is said.
# Matters: such a network that is trained on several GPUs with the usual line of code is trained
# without its activations, and scores differ from one GPU for a reason that no log shows.
# Seen with torch 2.13.0:
#     BatchNormAct becomes SyncBatchNorm
#     smallest output: before 0.00, after -3.15
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
from torch import nn


class BatchNormAct(nn.BatchNorm2d):
    """BatchNorm with its activation, as libraries of networks have it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


torch.manual_seed(0)
layer = BatchNormAct(4).eval()
converted = nn.SyncBatchNorm.convert_sync_batchnorm(layer)
data = torch.randn(8, 4, 5, 5)
# On a CPU, SyncBatchNorm evaluates as BatchNorm does.
before, after = layer(data).min().item(), converted(data).min().item()
print(type(layer).__name__, "becomes", type(converted).__name__)
print(f"smallest output: before {before:.2f}, after {after:.2f}")
if before < 0 or after >= 0:
    sys.exit("CHANGED: the activation survives the conversion")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
