"""What all tests share: how their processes begin, and what a whole test run makes once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.postgres import OwnServer, Server, server_of_run


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start.

    A shell without job control starts what it runs in the background with SIGINT ignored, and
    every process inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def postgres(run_folder: Path) -> Server:
    """Return the server of the whole test run, which no test may stop."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    run = os.getppid() if worker else os.getpid()
    return server_of_run(run_folder, run, worker or "alone")


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[OwnServer]:
    """A server that only the tests of a file use, one after the other; they may stop it."""
    server = OwnServer()
    yield server
    server.remove()
