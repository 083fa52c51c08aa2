#!/usr/bin/env bash
# Optuna on SQLite hands a queued trial to several workers.
#
# One expects: a trial of `study.enqueue_trial` is taken by one worker, whatever the storage.
# Happens: with eight workers on one SQLite file, some of 40 queued trials are taken by two or
# more of them, and each believes that the trial is its own. The state changes from WAITING to
# RUNNING by a read and a write of which SQLite guards only the write.
# Matters: a sweep that queues fixed points (a baseline, a grid) trains some of them twice, and
# the second `tell` fails with "Cannot tell a COMPLETE trial" after hours of training.
# Seen with Optuna 5.0.0, Python 3.11, SQLite 3.40.1:
#     40 queued trials were handed out 57 times
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'optuna==5.0.0' \
  'sqlalchemy==2.0.44' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import multiprocessing
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
QUEUED, WORKERS, ROUNDS = 40, 8, 5
URL = "sqlite:///study.db"


def work(name: str) -> list[int]:
    study = optuna.load_study(study_name=name, storage=URL)
    taken = []
    while study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
        trial = study.ask()
        # A queued trial gives its own whole number, a new one a drawn number.
        if trial.suggest_float("x", 0, 1000).is_integer():
            taken.append(trial.number)
    return taken


if __name__ == "__main__":
    for attempt in range(ROUNDS):  # it depends on who comes when
        name = f"round {attempt}"
        study = optuna.create_study(study_name=name, storage=URL)
        for number in range(QUEUED):
            study.enqueue_trial({"x": float(number)})
        with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
            parts = pool.map(work, [name] * WORKERS, chunksize=1)
        taken = [number for part in parts for number in part]
        print(QUEUED, "queued trials were handed out", len(taken), "times")
        if len(taken) > len(set(taken)):
            sys.exit(0)
    sys.exit(f"CHANGED: in {ROUNDS} rounds no queued trial was handed out twice")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
