#!/usr/bin/env bash
# Optuna's CmaEsSampler learns nothing from trials that were enqueued.
#
# One expects: `study.enqueue_trial` with the best known points gives CMA-ES a better start, as it
# does for the other samplers.
# Happens: the sampler counts only trials whose parameters it has proposed itself. With the
# optimum enqueued eight times, all its proposals are bitwise those of a study with eight bad
# points.
# Matters: a search over densities that starts from published values gains nothing from them with
# this sampler; the way is its `x0` and `sigma0`, or `source_trials`.
# Seen with Optuna 5.0.0, cmaes 0.13.1:
#     optimum enqueued, second proposal: x 0.708, y 0.380
#     bad point enqueued, second proposal: x 0.708, y 0.380
#     40 of 40 proposals are bitwise equal
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'optuna==5.0.0' \
  'sqlalchemy==2.0.44' \
  'cmaes==0.13.1' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
ENQUEUED, PROPOSED = 8, 40


def objective(trial: optuna.Trial) -> float:
    return sum((trial.suggest_float(name, 0, 1) - 0.9) ** 2 for name in "xy")


def proposals(enqueued: float) -> list[dict[str, float]]:
    """Return what the sampler proposes after trials at one point."""
    sampler = optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1)
    study = optuna.create_study(sampler=sampler)
    for _ in range(ENQUEUED):
        study.enqueue_trial({"x": enqueued, "y": enqueued})
    study.optimize(objective, n_trials=ENQUEUED + PROPOSED)
    return [trial.params for trial in study.trials[ENQUEUED:]]


best, bad = proposals(0.9), proposals(0.1)
equal = sum(one == other for one, other in zip(best, bad, strict=True))
for name, found in (("optimum", best), ("bad point", bad)):
    print(f"{name} enqueued, second proposal: x {found[1]['x']:.3f}, y {found[1]['y']:.3f}")
print(f"{equal} of {PROPOSED} proposals are bitwise equal")
if equal < PROPOSED:
    sys.exit("CHANGED: enqueued trials count")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
