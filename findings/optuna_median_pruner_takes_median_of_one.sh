#!/usr/bin/env bash
# Optuna's MedianPruner prunes a trial that is better than four of five, once those have ended.
#
# One expects: a trial is pruned where it is worse than the median of the earlier trials.
# Happens: the median is over the trials that reported this very step. Four of five trials ended
# by themselves at step 30; from step 31 on the median is the value of the one that went on, and a
# trial just below the best of all is pruned. `n_startup_trials=5` does not help, since it counts
# the trials of the study, and not those of the step.
# Matters: where trials stop early by themselves, later ones are measured against the longest
# runs only, which are mostly the best. `n_min_trials`, 1 by default, is what counts per step.
# Seen with Optuna 5.0.0 (higher is better):
#     all five trials have 100 steps: pruned at None
#     four of five end at step 30: pruned at 31
#     four of five end at step 30, n_min_trials=2: pruned at None
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


def pruned_at(last_steps: list[int], n_min_trials: int) -> int | None:
    """Return the first step at which a trial of value 0.89 is pruned."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=n_min_trials)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for value, last in zip((0.5, 0.5, 0.5, 0.5, 0.9), last_steps, strict=True):
        values = dict.fromkeys(range(1, last + 1), value)
        study.add_trial(optuna.trial.create_trial(value=value, intermediate_values=values))
    trial = study.ask()
    for step in range(1, 101):
        trial.report(0.89, step)
        if trial.should_prune():
            return step
    return None


early = [30, 30, 30, 30, 100]
print("all five trials have 100 steps: pruned at", pruned_at([100] * 5, 1))
print("four of five end at step 30: pruned at", pruned_at(early, 1))
print("four of five end at step 30, n_min_trials=2: pruned at", pruned_at(early, 2))
if pruned_at(early, 1) is None:
    sys.exit("CHANGED: a median of one trial prunes nothing")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
