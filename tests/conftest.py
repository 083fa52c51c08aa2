"""What all tests share: how their processes begin, and what a whole test run makes once."""

import functools
import gc
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.once import run_folder, run_process
from tests.sweep.postgres import OwnServer, Server, server_of_run


def pytest_configure() -> None:
    """Start processes as a shell of a user does, and collect no garbage for a while.

    Ctrl-C reaches them: a shell without job control starts what it runs in the background with
    SIGINT ignored, and every process inherits that. And Python keeps back what they print, also
    where whoever runs the tests has set PYTHONUNBUFFERED: users rarely do.
    """
    os.environ.pop("PYTHONUNBUFFERED", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Of what the imports make, nothing is garbage: looking for it takes a quarter of their time.
    gc.disable()
    # Every command that a test runs in this process would describe all commands anew.
    typer.main.get_command = functools.cache(typer.main.get_command)


def pytest_collection_finish() -> None:
    """Collect garbage from now on, of the tests alone, and not ten times in each of them."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


FIRST = ("tests/test_followed_pages.py", "tests/sweep/scenarios/test_storms.py")
"""They take longest, one test after the other."""
TOGETHER = (
    *FIRST,
    "tests/jobs/data/test_cifar100.py",
    "tests/sweep/cli/test_db.py",
    "tests/sweep/cli/test_watch.py",
    "tests/sweep/doctor/test_doctor.py",
    "tests/sweep/pilots/test_lanes.py",
    "tests/sweep/results/html/test_page.py",
    "tests/sweep/scenarios/test_outages.py",
    "tests/sweep/scenarios/test_storage_away.py",
    "tests/sweep/server/test_server.py",
    "tests/sweep/storage/test_connecting.py",
)
"""Files whose tests share what takes time to make."""
FORKING = "tests/jobs/ranks/"
"""Folder of tests whose process starts one that ranks are forked from."""
SLURM = "tests/slurm/"
"""Folder of tests that wait most of their time; each worker has a cluster of its own."""


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out one test after the other, but for those that share what takes time to make."""

    def _split_scope(self, nodeid: str) -> str:
        return _together(nodeid.partition("::")[0]) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler | None:
    """Take the place of xdist's loadscope. Its loadgroup sees no groups with pytest 9."""
    return Scheduler(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in the order in which they are handed out.

    Those that take minutes come first, and those that one worker runs, so that none begins with
    them when the others are about to end. Tests on SLURM, which wait, are spread among the
    others, which compute.
    """
    slurm = (_file_of(item) for item in items if _file_of(item).startswith(SLURM))
    waiting = dict.fromkeys(slurm)
    computing = [item for item in items if _file_of(item) not in waiting]
    computing.sort(key=lambda item: not _together(_file_of(item)))
    computing.sort(key=lambda item: not _file_of(item).startswith("tests/sweep/scenarios/"))
    places = {item: number / len(computing) for number, item in enumerate(computing)}
    # All of them have begun when the last third of the others is left.
    files = {file: 0.67 * number / len(waiting) for number, file in enumerate(waiting)}

    def place(item: pytest.Item) -> float:
        if _file_of(item) in FIRST:
            return -1
        return files[_file_of(item)] if _file_of(item) in files else places[item]

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch  # which the file of such a test has loaded

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _together(file: str) -> str:
    """Return what one worker runs with a file, or nothing where it takes test by test."""
    if file.startswith(FORKING):
        return FORKING
    return file if file in TOGETHER else ""


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
