#!/usr/bin/env bash
# Dropout under one seed drops other values when the same images lie in memory in another order.
#
# One expects: channels_last changes how fast a network computes, and its results by rounding. The
# values are the same, the seed is the same, so Dropout drops the same of them.
# Happens: Dropout draws its mask in the order in which the input lies in memory. For a channels_last
# input of several pixels the random numbers go to other values, and the mask differs; Dropout2d,
# whose mask has one value for each channel, and images of one pixel are as expected.
# Matters: turning channels_last on in a network with Dropout between its convolutions (NiN, VGG)
# trains another run, as another seed would, in float64, too. A comparison "with and without
# channels_last" then shows the spread of seeds, and tests that allow for rounding fail.
# Seen with torch 2.13.0 on a CPU:
#     Dropout, several pixels: equal in 51% of the places
#     Dropout, one pixel: equal in 100%
#     Dropout2d: equal in 100%
#     loss of a convolution and Dropout in float64: differs by 2.7%
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

ORDERS = (torch.contiguous_format, torch.channels_last)


def dropped(layer, shape):
    """Return the share of places in which both orders of memory drop alike, under one seed."""
    masks = []
    for order in ORDERS:
        torch.manual_seed(0)
        masks.append(layer(torch.ones(shape).contiguous(memory_format=order)) == 0)
    return float((masks[0] == masks[1]).double().mean())


alike = dropped(nn.Dropout(0.5), (64, 3, 4, 5))
pixel = dropped(nn.Dropout(0.5), (64, 3, 1, 1))
channels = dropped(nn.Dropout2d(0.5), (64, 3, 4, 5))

losses = []
images = torch.rand(8, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
for order in ORDERS:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)).double().to(memory_format=order)
    torch.manual_seed(3)
    outputs = model(images.contiguous(memory_format=order))
    losses.append(float(outputs.detach().square().mean()))
apart = abs(losses[0] - losses[1]) / losses[0]

print(f"Dropout, several pixels: equal in {alike:.0%} of the places")
print(f"Dropout, one pixel: equal in {pixel:.0%}")
print(f"Dropout2d: equal in {channels:.0%}")
print(f"loss of a convolution and Dropout in float64: differs by {apart:.1%}")
if not (0.3 < alike < 0.7 and pixel == 1 and channels == 1 and apart > 1e-3):
    sys.exit("CHANGED: the mask of Dropout no longer follows the order in memory")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
