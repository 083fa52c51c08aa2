#!/usr/bin/env bash
# Optuna's HyperbandPruner prunes other trials where the study has another name.
#
# One expects: the same objective with the same seeded sampler and the same pruner gives the same
# search, whatever the study is called.
# Happens: the pruner draws the bracket of a trial, and so the first step at which it may be
# pruned, from a checksum of the study's name and the trial's number. A study that is created
# without a name gets a random one.
# Matters: a search with a fixed seed is not repeatable unless the study has a name, and a copy of
# a study under a second name prunes other trials.
# Seen with Optuna 5.0.0:
#     mine: pruned 46 of 60, first trials end at steps [100, 100, 90, 100, 100, 100, 100, 10]
#     yours: pruned 46 of 60, first trials end at steps [100, 90, 100, 100, 100, 10, 100, 30]
#     33 of 60 trials end at another step
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'optuna==5.0.0' \
  'sqlalchemy==2.0.44' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
STEPS, TRIALS = 100, 60


def last_steps(name: str) -> list[int]:
    """Return the step at which each of the trials ended."""
    last = []

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(1, STEPS + 1):
            trial.report(x, step)
            if trial.should_prune() or step == STEPS:
                last.append(step)
                break
        if step < STEPS:
            raise optuna.TrialPruned
        return x

    study = optuna.create_study(
        study_name=name,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.HyperbandPruner(10, STEPS, reduction_factor=3),
    )
    study.optimize(objective, n_trials=TRIALS)
    return last


found = {name: last_steps(name) for name in ("mine", "yours")}
for name, last in found.items():
    pruned = sum(step < STEPS for step in last)
    print(f"{name}: pruned {pruned} of {TRIALS}, first trials end at steps {last[:8]}")
different = sum(one != other for one, other in zip(*found.values(), strict=True))
print(f"{different} of {TRIALS} trials end at another step")
if different == 0:
    sys.exit("CHANGED: the name of the study does not matter")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
