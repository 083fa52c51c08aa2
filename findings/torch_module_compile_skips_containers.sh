#!/usr/bin/env bash
# nn.Module.compile() on one of torch's own containers or layers compiles nothing.
#
# One expects: `module.compile()` is `torch.compile(module)` in place, without the wrapper that puts
# `_orig_mod.` before the names of the weights.
# Happens: for a class of one's own it is. For an nn.Sequential, an nn.Linear or an
# nn.TransformerEncoderLayer the backend is never called, and nothing is said: what `compile()` hands
# over is the module's `_call_impl`, and the frames of torch.nn that it calls are skipped.
# `torch.compile` wraps the same module in a function of its own, which is not.
# Matters: a network that is put together as a Sequential trains eagerly, at eager speed, although it
# has been told to compile.
# Seen with torch 2.13.0, graphs that a backend was given:
#     Sequential: compile() 0, torch.compile 1
#     Linear: compile() 0, torch.compile 1
#     class of one's own around a Sequential: compile() 1, torch.compile 1
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


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def graphs(make, in_place: bool) -> int:
    """Return how many graphs the backend is given for a forward pass."""
    given = []

    def backend(graph, inputs):
        given.append(graph)
        return graph.forward

    module = make()
    if in_place:
        module.compile(backend=backend)
    else:
        module = torch.compile(module, backend=backend)
    module(torch.ones(2, 4))
    return len(given)


seen = {}
for name, make in {
    "Sequential": lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU()),
    "Linear": lambda: nn.Linear(4, 4),
    "class of one's own around a Sequential": Own,
}.items():
    seen[name] = graphs(make, True), graphs(make, False)
    print(f"{name}: compile() {seen[name][0]}, torch.compile {seen[name][1]}")
if list(seen.values()) != [(0, 1), (0, 1), (1, 1)]:
    sys.exit("CHANGED: compile() compiles what torch.compile does")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
