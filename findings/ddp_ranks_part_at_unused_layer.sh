#!/usr/bin/env bash
# DistributedDataParallel leaves ranks with different weights after a step that skips a layer.
#
# One expects: a step whose forward leaves out a layer, on all ranks alike, is an error with
# `find_unused_parameters=False`, or the ranks stay equal.
# Happens: the gradients of the layers in the same bucket as the skipped one are not exchanged.
# backward() raises nothing, each rank steps by its own gradients, and the error comes at the next
# forward. If that step was the last one there is none, and the ranks hold different networks.
# Matters: stochastic depth or a head that is off in the last step gives results that depend on
# which rank writes the checkpoint.
# Seen with torch 2.13.0, gloo, two ranks:
#     no exception in 3 steps
#     a.weight: DIFFERENT on the ranks
#     a.bias: DIFFERENT on the ranks
#     b.weight: DIFFERENT on the ranks
#     b.bias: DIFFERENT on the ranks
#     c.weight: equal on the ranks
#     c.bias: equal on the ranks
#     next forward: RuntimeError Expected to have finished reduction in the prior ...
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
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

STEPS = 3


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: torch.Tensor, skip_c: bool) -> torch.Tensor:
        x = self.b(self.a(x))
        return x if skip_c else self.c(x)


def train(rank: int, answers) -> None:
    dist.init_process_group("gloo", store=dist.FileStore("store", 2), rank=rank, world_size=2)
    torch.manual_seed(0)
    net = DistributedDataParallel(Layers())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    torch.manual_seed(1 + rank)
    for step in range(STEPS):
        optimizer.zero_grad()
        net(torch.randn(8, 4), skip_c=step == STEPS - 1).square().mean().backward()
        optimizer.step()
    answers[rank] = {name: value.tolist() for name, value in net.module.state_dict().items()}
    try:
        net(torch.randn(8, 4), skip_c=False)
        answers["next"] = "works"
    except RuntimeError as error:
        answers["next"] = f"RuntimeError {str(error)[:48]} ..."
    dist.destroy_process_group()


if __name__ == "__main__":
    with mp.Manager() as manager:
        answers = manager.dict()
        mp.spawn(train, (answers,), nprocs=2)
        found = dict(answers)
    same = {name: found[0][name] == found[1][name] for name in found[0]}
    print("no exception in", STEPS, "steps")
    for name, equal in same.items():
        print(f"{name}: {'equal' if equal else 'DIFFERENT'} on the ranks")
    print("next forward:", found["next"])
    if all(same.values()):
        sys.exit("CHANGED: the ranks hold the same weights")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
