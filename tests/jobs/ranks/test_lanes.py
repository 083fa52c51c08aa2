"""Several trials at once, each from a thread of its own, as the lanes of an agent do."""

import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.jobs.trials import (
    Recorder,
    classification,
    fork_server_of,
    processes,
    ranks_of,
    saved,
)
from wconv_jobs.messages import Broken, Demand, Finished, Report, Verdict
from wconv_jobs.ranks.fork_server import SharedPopen
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import run_ranks
from wconv_jobs.training.loop import train


def _run(
    folder: Path, on_report: Callable[[Report], Verdict], *, ranks: int = 1, epochs: int = 1
) -> Finished | Broken:
    return run_ranks(
        classification(folder / "trial", epochs=epochs),
        placement=Placement(ranks),
        log_folder=folder / "logs",
        on_report=on_report,
        on_tick=lambda: Demand.GO,
    )


def test_a_program_starts_the_fork_server_before_it_has_loaded_torch_itself() -> None:
    code = "import sys, wconv_jobs.ranks.fork_server; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_program_may_start_ranks_without_torch() -> None:
    code = "import sys, wconv_jobs.ranks.run; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_trials_of_several_threads_share_a_fork_server_and_end_as_each_would_alone(
    tmp_path: Path,
) -> None:
    expected = train(classification(tmp_path / "alone", epochs=1), Recorder())
    mask, servers = signal.pthread_sigmask(signal.SIG_BLOCK, []), set()

    def lane(number: int) -> list[Finished | Broken]:
        def note(report: Report) -> Verdict:
            servers.add(fork_server_of(os.getpid()))
            return Verdict.CONTINUE

        # One after the other: trials end while those of other lanes start.
        return [_run(tmp_path / f"{number}-{trial}", note, ranks=2) for trial in range(2)]

    with ThreadPoolExecutor(3) as lanes:
        results = [result for lane in lanes.map(lane, range(3)) for result in lane]

    assert [result.kind for result in results] == ["finished"] * 6
    for result in results:
        assert isinstance(result, Finished)
        assert result.metrics["test_loss"] == pytest.approx(
            expected.metrics["test_loss"], rel=1e-10
        )
    assert len(servers) == 1
    assert ranks_of(os.getpid()) == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


@pytest.mark.slow
def test_a_rank_that_is_killed_breaks_the_trial_of_its_lane_alone(tmp_path: Path) -> None:
    both_train = threading.Barrier(2)

    def lane(number: int) -> Finished | Broken:
        def report(_: Report) -> Verdict:
            both_train.wait(60)
            if number == 0:
                # The first of both trials is still there: its rank waits for the verdict.
                os.kill(_rank_of(tmp_path / "0"), signal.SIGKILL)
            return Verdict.CONTINUE

        return _run(tmp_path / str(number), report)

    with ThreadPoolExecutor(2) as lanes:
        killed, other = lanes.map(lane, range(2))

    assert isinstance(killed, Broken)
    assert killed.reason.startswith("rank 0 was killed (SIGKILL)")
    assert isinstance(other, Finished)
    assert len(saved(tmp_path / "1" / "trial")["reports"]) == 1


def _rank_of(folder: Path) -> int:
    """Process number of the one rank whose log lies in a folder."""
    (pid,) = (
        pid
        for pid in ranks_of(os.getpid())
        if os.readlink(f"/proc/{pid}/fd/1").startswith(str(folder))
    )
    return pid


@pytest.mark.slow
def test_signals_for_the_whole_job_leave_all_helpers_of_the_ranks_alone(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    # An agent starts the helpers itself; other tests may have done so in this process.
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.jobs.ranks import test_lanes\n"
        "test_lanes.signal_the_whole_job(Path(sys.argv[1]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=pytestconfig.rootpath, check=True
    )


def signal_the_whole_job(folder: Path) -> None:
    """Send every signal of a job to all helpers and ranks, and look who is left."""

    def helpers() -> list[int]:
        children = [process for process in processes() if process.parent == os.getpid()]
        return [child.pid for child in children if "multiprocessing" in child.command]

    signaled: list[int] = []

    def signal_all(_: Report) -> Verdict:
        signaled.extend(helpers())
        for pid in [*helpers(), *ranks_of(os.getpid())]:
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
        return Verdict.CONTINUE

    result = _run(folder, signal_all, ranks=2)

    assert isinstance(result, Finished)
    # The fork server, and the one that looks after semaphores.
    assert len(signaled) == 2
    assert helpers() == signaled


def test_two_threads_that_ask_for_the_end_of_a_process_at_once_get_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Both see that there is something to read before either reads it.
    reading, writing = os.pipe()
    process = SharedPopen.__new__(SharedPopen)
    process._reading, process.sentinel, process.returncode = threading.Lock(), reading, None
    both = threading.Barrier(2)
    first, wait = threading.local(), multiprocessing.connection.wait

    def wait_for_both(*arguments: object) -> object:
        ready = wait(*arguments)  # type: ignore[arg-type]
        if not hasattr(first, "done"):
            first.done = True
            both.wait(60)
        return ready

    multiprocessing.forkserver.write_signed(writing, 0)
    os.close(writing)
    monkeypatch.setattr(multiprocessing.connection, "wait", wait_for_both)

    with ThreadPoolExecutor(2) as threads:
        statuses = list(threads.map(lambda _: process.poll(0), range(2)))

    os.close(reading)
    assert statuses == [0, 0]
