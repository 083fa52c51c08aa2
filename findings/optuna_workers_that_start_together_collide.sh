#!/usr/bin/env bash
# Of several workers that start together on a new SQLite file, some die while its tables are made.
#
# One expects: `optuna.create_study(storage=..., load_if_exists=True)` is how each worker of a
# parallel search begins: the first one makes the study, the others find it.
# Happens: the study is made once, but its tables are not. Each worker that finds none creates them
# and writes their version; the later ones get an IntegrityError or OperationalError, which Optuna
# does not catch.
# Matters: a job array whose elements start at the same moment loses some of them, in its first run
# alone. A search that two workers share goes on with one, and takes twice as long.
# Seen with optuna 5.0.0, SQLAlchemy 2.1.9, alembic 1.20.1, 20 rounds of 4 workers on 2 cores:
#     IntegrityError: 6 of 80 workers
#     OperationalError: 10 of 80 workers
#     found or made the study: 64 of 80 workers
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'optuna==5.0.0' \
  'SQLAlchemy==2.1.9' \
  'alembic==1.20.1' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/worker.py" <<'PYTHON'
import multiprocessing
import sys
import tempfile
from collections import Counter

import optuna

ROUNDS, WORKERS = 20, 4


def work(barrier, url, ends):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    barrier.wait()
    try:
        optuna.create_study(storage=url, study_name="one", load_if_exists=True)
        ends.put("found or made the study")
    except Exception as error:
        ends.put(type(error).__name__)


def main():
    context = multiprocessing.get_context("fork")
    counted = Counter()
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            barrier, ends = context.Barrier(WORKERS), context.Queue()
            given = (barrier, f"sqlite:///{folder}/new.db", ends)
            workers = [context.Process(target=work, args=given) for _ in range(WORKERS)]
            for worker in workers:
                worker.start()
            counted.update(ends.get() for _ in workers)
            for worker in workers:
                worker.join()
    for end, number in sorted(counted.items()):
        print(f"{end}: {number} of {ROUNDS * WORKERS} workers")
    if len(counted) < 2:
        sys.exit("CHANGED: workers that start together no longer collide")


main()
PYTHON
cd "$folder"
"$folder/venv/bin/python" worker.py
