#!/usr/bin/env bash
# Optuna's GridSampler trains points of the grid more than once when workers share a study.
#
# One expects: a grid of 25 points costs 25 trials, and the study stops by itself.
# Happens: each worker draws among the points that nobody has *begun* as far as it can see, so
# two workers take the same point at the same time; towards the end many do. Eight workers train
# 28 to 40 trials for 25 points. The first worker that sees no point left stops all, so some runs
# end with points that nobody has trained.
# Matters: a grid over a density of a network costs up to a half more GPU-hours than it has
# points.
# Seen with Optuna 5.0.0, SQLite 3.40.1:
#     36 trials for 19 of 25 points
#     35 trials for 25 of 25 points
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
URL, WORKERS = "sqlite:///study.db", 8
GRID = {"x": list(range(5)), "y": list(range(5))}


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_int("x", 0, 4) + trial.suggest_int("y", 0, 4)


def work(seed: int) -> None:
    sampler = optuna.samplers.GridSampler(GRID, seed=seed)
    optuna.load_study(study_name="grid", storage=URL, sampler=sampler).optimize(objective)


if __name__ == "__main__":
    study = optuna.create_study(study_name="grid", storage=URL)
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(work, range(WORKERS), chunksize=1)
    points = [tuple(sorted(trial.params.items())) for trial in study.trials]
    print(len(points), "trials for", len(set(points)), "of 25 points")
    if len(points) == len(set(points)) == 25:
        sys.exit("CHANGED: every point was trained once")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
