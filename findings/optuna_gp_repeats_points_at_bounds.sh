#!/usr/bin/env bash
# Optuna's GPSampler spends most proposals on points that it has tried where there is only noise.
#
# One expects: on a noisy objective that does not depend on the parameter, a Gaussian process
# spreads its proposals, or says that it has nothing to propose.
# Happens: by default it estimates the noise and proposes the end of the range, bit by bit the
# same number again: of 50 proposals of a study, about 36 are exactly a bound and about 34 repeat
# an earlier trial bitwise (means over 30 studies; single ones 22 to 40).
# Matters: trainings whose seed is fixed give the same number again: two thirds of the budget of
# a sweep over a parameter that does not matter buy nothing, and the best trial is one that was
# tried most.
# Seen with Optuna 5.0.0, 2 studies of 40 trials:
#     proposals 60, exactly at a bound 52, bitwise repeats 48
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'optuna==5.0.0' \
  'torch==2.13.0' \
  'scipy==1.17.1' \
  'greenlet==3.5.6' \
  'sqlalchemy==2.0.44' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import optuna

warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.ERROR)
RANGE = {"x": optuna.distributions.FloatDistribution(0.5, 1.5)}
STUDIES, TRIALS, STARTUP = 2, 40, 10

proposals = at_bounds = repeats = 0
for number in range(STUDIES):
    noise = np.random.default_rng(number)
    study = optuna.create_study(direction="maximize")
    for trial_number in range(TRIALS):
        study.sampler = optuna.samplers.GPSampler(n_startup_trials=STARTUP, seed=trial_number)
        trial = study.ask(RANGE)
        if trial_number >= STARTUP:
            x = trial.params["x"]
            proposals += 1
            at_bounds += x in (0.5, 1.5)
            repeats += any(x == earlier.params["x"] for earlier in study.trials[:-1])
        study.tell(trial, noise.normal())
print("proposals", f"{proposals}, exactly at a bound {at_bounds}, bitwise repeats {repeats}")
if repeats < proposals / 4:
    sys.exit("CHANGED: fewer than a quarter of the proposals repeat a trial")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
