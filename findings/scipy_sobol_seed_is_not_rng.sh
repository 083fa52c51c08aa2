#!/usr/bin/env bash
# scipy.stats.qmc.Sobol gives other points for rng=5 than for seed=5.
#
# One expects: `rng`, the new name of the argument `seed`, draws the same scrambled Sobol points
# for the same number.
# Happens: `seed=5` gives the points of SciPy 1.13; `rng=5` makes a generator of 5 and scrambles
# by a *child* that it spawns, so the points are others. Both are deterministic, and nothing
# warns.
# Matters: who follows the documentation and renames the argument in a study that is under way
# continues another sequence: points come twice, and gaps stay.
# Seen with SciPy 1.17.1, NumPy 2.4.6:
#     seed=5: 0.6314 0.3245 0.1815 0.8624
#     rng=5:  0.3372 0.7700 0.5735 0.0059
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'scipy==1.17.1' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

import numpy as np
from scipy.stats import qmc

by_seed = qmc.Sobol(1, scramble=True, seed=5).random(4).ravel()
by_rng = qmc.Sobol(1, scramble=True, rng=5).random(4).ravel()
print("seed=5:", *(f"{x:.4f}" for x in by_seed))
print("rng=5: ", *(f"{x:.4f}" for x in by_rng))
if np.array_equal(by_seed, by_rng):
    sys.exit("CHANGED: both names give the same points")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
