#!/usr/bin/env bash
# Python's fork server imports the main module again in every child, also if told to preload it.
#
# One expects: children of the fork server have what the server has loaded, and its default list
# of modules to load is `["__main__"]`: the imports of the program are paid once.
# Happens: the server is not told where the main module lies, and skips it without a word. Each
# child runs the main module again, as `__mp_main__`, with all imports at its top. Only what is
# listed under its own name is loaded once.
# Matters: with torch's elastic launcher and start_method="forkserver", every rank of every launch
# pays for the imports of the program that launches: seconds each, where a fork takes none.
# Seen with Python 3.11.7, four children each:
#     by default: imported 4 times after the program itself
#     preload __main__: imported 4 times
#     preload the module itself: imported 1 times
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/heavy.py" <<'PYTHON'
from pathlib import Path

with Path("imports").open("a") as file:
    file.write("imported\n")
PYTHON
cat > "$folder/shown.py" <<'PYTHON'
import multiprocessing
import sys

import heavy  # noqa: F401


def work() -> None:
    pass


if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    if sys.argv[1:]:
        context.set_forkserver_preload(sys.argv[1:])
    for _ in range(4):
        child = context.Process(target=work)
        child.start()
        child.join()
PYTHON
cd "$folder"
python3 --version

imports_beside_main() {
  rm -f imports
  python3 shown.py "$@"
  echo $(($(wc -l < imports) - 1))
}

by_default=$(imports_beside_main)
told=$(imports_beside_main __main__)
echo "by default: imported $by_default times after the program itself"
echo "preload __main__: imported $told times"
echo "preload the module itself: imported $(imports_beside_main heavy) times"
if [ "$told" -ne 4 ]; then
  echo "CHANGED: the fork server loads the main module" >&2
  exit 1
fi
