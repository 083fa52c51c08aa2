#!/usr/bin/env bash
# torch's elastic launcher with start_method="forkserver" imports the program again in every rank.
#
# One expects: ranks that come from a fork server have what the server has loaded, and its default
# list of modules to load is `["__main__"]`: the imports of the launching program are paid once.
# Happens: the server is not told where the main module lies, and skips it without a word. Each
# rank runs the program again, as `__mp_main__`, with all imports at its top. Only what is listed
# under its own name is loaded once.
# Matters: every rank of every launch pays for the imports of the program that launches, as with
# "spawn": seconds each, where a fork takes none. Nothing of the launcher says so.
# Seen with torch 2.13.0 and Python 3.11.7, two launches of two ranks:
#     by default: imported 4 times after the program itself
#     preload __main__: imported 4 times after the program itself
#     preload the module itself: imported 1 times after the program itself
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'torch==2.13.0' \
  'numpy==2.4.6' \
  2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }

cat > "$folder/heavy.py" <<'PYTHON'
from pathlib import Path

with Path("imports").open("a") as file:
    file.write("imported\n")
PYTHON
cat > "$folder/shown.py" <<'PYTHON'
import multiprocessing
import sys

import heavy  # noqa: F401
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes


def work() -> None:
    pass


if __name__ == "__main__":
    if sys.argv[1:]:
        multiprocessing.set_forkserver_preload(sys.argv[1:])
    for _ in range(2):
        ranks = start_processes(
            name="rank",
            entrypoint=work,
            args={0: (), 1: ()},
            envs={0: {}, 1: {}},
            logs_specs=DefaultLogsSpecs(),
            start_method="forkserver",
        )
        if ranks.wait().is_failed():
            sys.exit("a rank has failed")
PYTHON
cd "$folder"
venv/bin/python -c 'import sys, torch; print("torch", torch.__version__, "Python", sys.version.split()[0])'

imports_beside_program() {
  rm -f imports
  venv/bin/python shown.py "$@"
  echo $(($(wc -l < imports) - 1))
}

by_default=$(imports_beside_program)
told=$(imports_beside_program __main__)
echo "by default: imported $by_default times after the program itself"
echo "preload __main__: imported $told times after the program itself"
echo "preload the module itself: imported $(imports_beside_program heavy) times after the program itself"
if [ "$told" -ne 4 ]; then
  echo "CHANGED: the fork server loads the launching program" >&2
  exit 1
fi
