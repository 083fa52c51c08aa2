"""What all tests share: how their processes begin, and what a whole test run makes once."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.once import run_folder, run_process
from tests.sweep.postgres import OwnServer, Server, server_of_run


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start.

    A shell without job control starts what it runs in the background with SIGINT ignored, and
    every process inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Long ones come first, so that no worker begins one when the others are about to end.
LONG_FIRST = (
    "tests/test_followed_pages.py",
    "tests/slurm/",
    "tests/sweep/scenarios/test_storms.py",
    "tests/sweep/scenarios/",
)
MADE_FOR_A_FILE = {"own_postgres", "installed", "box"}
"""Fixtures that one worker makes for all the tests of a file that need it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what `--dist loadgroup` may run at the same time, and begin with what takes long."""

    def rank(item: pytest.Item) -> int:
        found = (n for n, begin in enumerate(LONG_FIRST) if item.nodeid.startswith(begin))
        return next(found, len(LONG_FIRST))

    for item in items:
        if MADE_FOR_A_FILE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=rank)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return the server of the whole test run, which no test may stop."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    return server_of_run(run_folder(tmp_path_factory), run_process(), worker)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[OwnServer]:
    """A server that only the tests of a file use, one after the other; they may stop it."""
    server = OwnServer()
    yield server
    server.remove()
