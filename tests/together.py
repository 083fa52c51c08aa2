"""Calls that threads make at the same time, again and again."""

import threading
from collections.abc import Callable, Sequence

ROUNDS = 50


def failures_together(calls: Sequence[Callable[[], object]]) -> list[OSError]:
    """Make all calls at the same time, `ROUNDS` times; return the errors of the system."""
    together = threading.Barrier(len(calls))
    failed: list[OSError] = []

    def repeat(call: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            together.wait(timeout=60)
            try:
                call()
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=repeat, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed
