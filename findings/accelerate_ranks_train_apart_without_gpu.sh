#!/usr/bin/env bash
# Under torchrun on a machine without GPUs, ranks of Accelerate do not know of each other.
#
# One expects: `torchrun --nproc-per-node 2 train.py` trains one model on two ranks, as it does with
# GPUs: RANK and WORLD_SIZE are set, and Accelerator() is there to read them.
# Happens: without a GPU Accelerator() takes no notice of them unless it is told to use the CPU, by
# `cpu=True` or ACCELERATE_USE_CPU. Each process is the main process of one, prepares the whole
# data set, and keeps its gradients for itself. Nothing is said, and all ends with status 0.
# Matters: a program that is tried on a laptop or a CPU node before GPU-hours are spent runs, and
# shows nothing of what two ranks do: it trains two models, at twice the cost, and both write the
# same checkpoint.
# Seen with accelerate 1.15.0 and torch 2.13.0, two ranks, 64 samples in batches of 8:
#     as it is: 2 main processes, num_processes 1, 8 batches each, gradients differ
#     ACCELERATE_USE_CPU=true: 1 main processes, num_processes 2, 4 batches each, gradients equal
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'torch==2.13.0' \
  'accelerate==1.15.0' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/train.py" <<'PYTHON'
import json
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

accelerator = Accelerator()
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
data = TensorDataset(torch.arange(256, dtype=torch.float32).reshape(64, 4))
model, loader = accelerator.prepare(model, DataLoader(data, batch_size=8))
rank = int(os.environ["RANK"])
batches = [batch for (batch,) in loader]
accelerator.backward((rank + 1) * model(batches[0]).sum())  # ranks differ, as by their samples
gradient = [parameter.grad.tolist() for parameter in model.parameters()]
Path(f"rank{rank}.json").write_text(
    json.dumps([accelerator.is_main_process, accelerator.num_processes, len(batches), gradient])
)
PYTHON
cat > "$folder/compare.py" <<'PYTHON'
import json
import sys
from pathlib import Path

one, other = (json.loads(Path(f"rank{rank}.json").read_text()) for rank in (0, 1))
same = "equal" if one[3] == other[3] else "differ"
print(
    f"{sys.argv[1]}: {one[0] + other[0]} main processes, num_processes {one[1]}, "
    f"{one[2]} batches each, gradients {same}"
)
sys.exit(0 if one[1] == int(sys.argv[2]) else 3)
PYTHON
cd "$folder"
export CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
venv/bin/python -c 'import accelerate, torch; print("accelerate", accelerate.__version__, "torch", torch.__version__)'

trained() { venv/bin/python -m torch.distributed.run --nproc-per-node 2 train.py > run.log 2>&1 || { cat run.log >&2; exit 2; }; }

trained
venv/bin/python compare.py "as it is" 1 || {
  echo "CHANGED: Accelerate takes notice of the other ranks" >&2
  exit 1
}
ACCELERATE_USE_CPU=true trained
venv/bin/python compare.py "ACCELERATE_USE_CPU=true" 2
