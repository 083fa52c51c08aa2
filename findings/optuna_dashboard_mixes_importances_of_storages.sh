#!/usr/bin/env bash
# optuna-dashboard shows a study the importances of a study in another storage.
#
# One expects: two dashboards in one process, each over a storage of its own, know nothing of each
# other.
# Happens: the importances are cached in a variable of the module, by the study's number and its
# count of complete trials. Numbers begin at 1 in each storage, so the second storage's study gets
# those of the first one where as many trials are complete.
# Matters: a server that offers several studies' databases, or a test suite, shows wrong
# importances and no error.
# Seen with optuna-dashboard 0.21.0, Optuna 5.0.0:
#     storage where x decides: {'x': 1.0, 'y': 0.0}
#     storage where y decides: {'x': 1.0, 'y': 0.0}
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'optuna==5.0.0' \
  'sqlalchemy==2.0.44' \
  'optuna-dashboard==0.21.0' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/shown.py" <<'PYTHON'
import json
import sys
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard

optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage_with_study(decisive: str) -> optuna.storages.RDBStorage:
    """Return a storage with one study, in which one of two parameters matters."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{decisive}.db")
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        values = {name: trial.suggest_float(name, 0, 1) for name in "xy"}
        return 100 * values.pop(decisive) + sum(values.values())

    study.optimize(objective, n_trials=30)
    return storage


def importances(storage: optuna.storages.RDBStorage) -> dict[str, float]:
    environment = {"PATH_INFO": "/api/studies/1/param_importances"}
    setup_testing_defaults(environment)
    answer = optuna_dashboard.wsgi(storage)(environment, lambda *_: None)
    found = json.loads(b"".join(answer))["param_importances"][0]
    return {each["name"]: round(each["importance"], 2) for each in sorted(found, key=str)}


first = importances(storage_with_study("x"))
second = importances(storage_with_study("y"))
print("storage where x decides:", first)
print("storage where y decides:", second)
if second["y"] > 0.5:
    sys.exit("CHANGED: each storage has importances of its own")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
