#!/usr/bin/env bash
# A child of Python's fork server that ended well has exit code 255 when two threads ask.
#
# One expects: a process that returns has exit code 0, whoever asks, as with "spawn".
# Happens: the exit code comes through a pipe and can be read once. The second of two threads that
# wait for it reads the end of the pipe, takes this for the death of the fork server, and writes
# 255 over the 0. It takes no second `join`: starting a process asks all others of the program
# whether they have ended, so threads that each start and join children of their own meet it.
# Matters: launchers that run a job in each of several threads (torch's elastic agent with
# start_method="forkserver") see healthy workers fail at random, and may restart them.
# Seen with Python 3.11.7:
#     spawn, two threads join each child: 0 of 10 ended with 255
#     forkserver, two threads join each child: 40 of 40 ended with 255
#     forkserver, each of 4 threads joins children of its own: 15 of 80 ended with 255
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/shown.py" <<'PYTHON'
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable


def work() -> None:
    time.sleep(0.05)


def in_threads(count: int, target: Callable[[], None]) -> None:
    threads = [threading.Thread(target=target) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def joined_by_two(method: str, children: int) -> list[int | None]:
    codes = []
    for _ in range(children):
        child = multiprocessing.get_context(method).Process(target=work)
        child.start()
        in_threads(2, child.join)
        codes.append(child.exitcode)
    return codes


def joined_by_one(method: str, children: int) -> list[int | None]:
    codes = []

    def start_and_join() -> None:
        for _ in range(children // 4):
            child = multiprocessing.get_context(method).Process(target=work)
            child.start()
            child.join()
            codes.append(child.exitcode)

    in_threads(4, start_and_join)
    return codes


def said(what: str, codes: list[int | None]) -> int:
    print(what, codes.count(255), "of", len(codes), "ended with 255")
    return codes.count(255)


if __name__ == "__main__":
    said("spawn, two threads join each child:", joined_by_two("spawn", 10))
    two = said("forkserver, two threads join each child:", joined_by_two("forkserver", 40))
    own = "forkserver, each of 4 threads joins children of its own:"
    if two + said(own, joined_by_one("forkserver", 80)) == 0:
        sys.exit("CHANGED: every thread gets the exit code")
PYTHON
cd "$folder"
python3 --version
python3 shown.py
