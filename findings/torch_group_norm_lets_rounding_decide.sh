#!/usr/bin/env bash
# GroupNorm over a single value refuses a batch of one, and passes on rounding noise for two.
#
# One expects: GroupNorm treats each sample for itself. So a group with a single value, which is zero
# once its mean is taken off, is an error for every batch size, or zero for every batch size.
# Happens: its check counts the values of the whole batch. One sample of 1 x 1 pixels with as many
# groups as channels raises ValueError; two such samples pass. Their output is not zero but rounding
# noise that is divided by sqrt(eps), and a ReLU behind it passes the gradient of half of the values:
# those whose noise is positive. LayerNorm over one value gives exact zeros.
# Matters: a pyramid network with GroupNorm trains on images that are too small for it, and a change
# in the last bit of a weight, another batch size or another number of ranks, flips gradients of full
# size. The loss of two runs that should be equal to rounding differed by 5 % after three steps.
# Seen with torch 2.13.0 on a CPU:
#     batch of 1: ValueError
#     batch of 4, float32: largest output below 1e-04 and not 0, share that passes a ReLU 0.49
#     batch of 4, float64: largest output below 1e-12 and not 0, share that passes a ReLU 0.50
#     flipped by one last bit of the weights before it: more than a tenth of the gradients
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

torch.manual_seed(0)
CHANNELS = 256
is_same = True
norm = nn.GroupNorm(CHANNELS, CHANNELS)
try:
    norm(torch.randn(1, CHANNELS, 1, 1))
    is_same = False
    print("batch of 1: passes")
except ValueError:
    print("batch of 1: ValueError")
for dtype, least in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
    layer = nn.Conv2d(16, CHANNELS, 1, bias=False).to(dtype)
    norm = nn.GroupNorm(CHANNELS, CHANNELS).to(dtype)
    images = torch.randn(4, 16, 1, 1, dtype=dtype)
    with torch.no_grad():
        output = norm(layer(images))
        layer.weight.mul_(1 + torch.finfo(dtype).eps)
        other = norm(layer(images))
    largest = float(output.abs().max())
    share = float((output > 0).double().mean())
    flipped = float(((output > 0) != (other > 0)).double().mean())
    print(f"batch of 4, {str(dtype)[6:]}: largest output below {least:.0e} and not 0, ", end="")
    print(f"share that passes a ReLU {share:.2f}")
    is_same &= 0 < largest < least and 0.3 < share < 0.7 and flipped > 0.1
if is_same:
    print("flipped by one last bit of the weights before it: more than a tenth of the gradients")
else:
    sys.exit("CHANGED: a group with a single value is refused, or gives zeros")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
