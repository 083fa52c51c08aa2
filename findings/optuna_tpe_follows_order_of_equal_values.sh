#!/usr/bin/env bash
# TPE takes the first trials for the good ones where all are equally good.
#
# One expects: where 20 trials have the same value, proposals say nothing of the parameter.
# Happens: TPE sorts trials by value, keeps their order among equals, and calls the first tenth
# "good". Told in ascending order, it proposes the low end of the range; told the same trials in
# descending order, the high end.
# Matters: a network that ignores its input, a metric that is saturated or rounded, and a study
# that was begun by hand-picked points all look like a clear answer: the points that came first.
# Seen with Optuna 5.0.0, quartiles of 200 proposals in [0.5, 1.5]:
#     told in ascending order:  0.506 0.514 0.528
#     told in descending order: 1.475 1.489 1.495
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
RANGE = {"x": optuna.distributions.FloatDistribution(0.5, 1.5)}
POINTS = [0.52 + 0.049 * number for number in range(20)]


def quartiles(points: list[float]) -> list[float]:
    proposals = []
    for seed in range(200):
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        for x in points:
            equal = optuna.trial.create_trial(params={"x": x}, distributions=RANGE, value=1.0)
            study.add_trial(equal)
        proposals.append(study.ask(RANGE).params["x"])
    return [sorted(proposals)[number] for number in (50, 100, 150)]


rising, falling = quartiles(POINTS), quartiles(POINTS[::-1])
print("told in ascending order: ", *(f"{x:.3f}" for x in rising))
print("told in descending order:", *(f"{x:.3f}" for x in falling))
if not (rising[2] < 0.6 and falling[0] > 1.4):
    sys.exit("CHANGED: the order of equal trials no longer decides")
PYTHON
cd "$folder"
"$folder/venv/bin/python" shown.py
