#!/usr/bin/env bash
# A gloo broadcast of a transposed tensor sends its memory, not its values.
#
# One expects: `dist.broadcast(t, src=0)` gives every rank the values of rank 0, or refuses `t`.
# Happens: where the tensor is a transposed view on one rank and contiguous on the other, the
# bytes are copied as they lie in memory, and rank 1 silently holds the values in another order.
# DistributedDataParallel, which flattens buffers first, gets them right. int16 is refused by
# both with "Invalid scalar type", complex64 works.
# Matters: code that makes ranks agree by broadcasting each buffer itself gives ranks different
# networks for a buffer that came out of `.t()` or a channels-last conversion on one of them.
# Seen with torch 2.13.0:
#     rank 0: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
#     rank 1: [[0.0, 2.0], [4.0, 1.0], [3.0, 5.0]]
#     int16: RuntimeError Invalid scalar type
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

VALUES = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def exchange(rank: int, answers) -> None:
    dist.init_process_group("gloo", store=dist.FileStore("store", 2), rank=rank, world_size=2)
    buffer = torch.tensor(VALUES).t().contiguous().t() if rank == 0 else torch.zeros(3, 2)
    dist.broadcast(buffer, src=0)
    answers[rank] = buffer.tolist()
    try:
        dist.broadcast(torch.zeros(2, dtype=torch.int16), src=0)
        answers["int16"] = "works"
    except RuntimeError as error:
        answers["int16"] = f"RuntimeError {str(error).splitlines()[0]}"
    dist.destroy_process_group()


if __name__ == "__main__":
    with mp.Manager() as manager:
        answers = manager.dict()
        mp.spawn(exchange, (answers,), nprocs=2)
        found = dict(answers)
    print("rank 0:", found[0])
    print("rank 1:", found[1])
    print("int16:", found["int16"])
    if found[0] != VALUES or found[1] == VALUES or "Invalid scalar type" not in found["int16"]:
        sys.exit("CHANGED: the broadcast respects strides, or takes int16")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
