#!/usr/bin/env bash
# optuna.copy_study copies trials that add_trial refuses.
#
# One expects: a trial whose parameter lies outside of its range (as `enqueue_trial` may make
# one, with a warning) cannot be copied, since `study.add_trial` refuses it with a ValueError.
# Happens: `add_trial` raises, `copy_study` between storages copies it with its value outside of
# the range, silently: it writes by the storage, which does not validate.
# Matters: a copy that is made with `add_trial` in a loop (as many migration scripts are) stops
# in the middle of a study that `copy_study` takes; and what was copied is no proof that a study
# is valid.
# Seen with Optuna 5.0.0:
#     add_trial: ValueError
#     copy_study: 1.0 of a range from 0.05 to 0.5
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
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", UserWarning)  # it says that the value is out of range
ONE, OTHER = "sqlite:///one.db", "sqlite:///other.db"

study = optuna.create_study(study_name="s", storage=ONE)
study.enqueue_trial({"x": 1.0})
trial = study.ask()
study.tell(trial, trial.suggest_float("x", 0.05, 0.5))

try:
    optuna.create_study(storage=OTHER).add_trial(study.trials[0])
    added = "no error"
except ValueError as error:
    added = type(error).__name__
print("add_trial:", added)

optuna.copy_study(from_study_name="s", from_storage=ONE, to_storage=OTHER)
(copied,) = optuna.load_study(study_name="s", storage=OTHER).trials
print("copy_study:", copied.params["x"], "of a range from 0.05 to", copied.distributions["x"].high)
if (added, copied.params["x"]) != ("ValueError", 1.0):
    sys.exit("CHANGED: both ways judge a trial outside of its range alike")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
