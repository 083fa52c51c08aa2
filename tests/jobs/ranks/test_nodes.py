"""Trials that span nodes: real processes, started by a command, whichever of them dies.

The other node is this machine, too: `env` starts a process as srun or ssh would.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.trials import (
    Recorder,
    classification,
    fork_server_of,
    is_alive,
    processes,
    ranks_of,
    same_state,
    saved,
    wait_until,
)
from wconv_jobs.messages import Broken, Demand, Finished, Report, Verdict
from wconv_jobs.ranks import run as ranks_module
from wconv_jobs.ranks.placement import NodeCommand, Placement
from wconv_jobs.ranks.run import RanksAborted, run_ranks
from wconv_jobs.spec import TrialSpec

pytestmark = pytest.mark.slow

HERE = NodeCommand(("env",))


def _run(
    spec: TrialSpec,
    on_report: Callable[[Report], Verdict],
    *,
    node: NodeCommand = HERE,
    on_tick: Callable[[], Demand] = lambda: Demand.GO,
) -> Finished | Broken:
    placement = Placement(4, other_nodes=(node,), address="127.0.0.1")
    logs = spec.checkpoint_folder.parent / f"logs of {spec.checkpoint_folder.name}"
    result = run_ranks(
        spec, placement=placement, log_folder=logs, on_report=on_report, on_tick=on_tick
    )
    assert ranks_of(os.getpid()) == []
    return result


def _node_of(agent: int) -> int:
    """Process number of the other node that an agent has started."""
    (pid,) = (
        process.pid
        for process in processes()
        if process.parent == agent and "wconv_jobs.ranks.node" in process.command
    )
    return pid


def _everything_there(agent: int) -> list[int]:
    """The process of the other node, its fork server and its ranks."""
    node = _node_of(agent)
    server = fork_server_of(node)
    assert server is not None
    return [node, server, *ranks_of(node)]


def test_two_nodes_with_two_ranks_each_train_like_four_ranks_on_one(tmp_path: Path) -> None:
    one, two = Recorder(), Recorder()
    alone = run_ranks(
        classification(tmp_path / "one"),
        placement=Placement(4),
        log_folder=tmp_path / "logs",
        on_report=one,
        on_tick=lambda: Demand.GO,
    )

    together = _run(classification(tmp_path / "two"), two)

    assert isinstance(alone, Finished)
    assert isinstance(together, Finished)
    assert (together.ending, together.provenance["ranks"]) == ("complete", "4")
    for metrics, expected in zip(two.metrics, one.metrics, strict=True):
        assert metrics == pytest.approx(expected, rel=1e-10)
    assert len(list((tmp_path / "logs of two" / "node_1").rglob("stdout.log"))) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_of_another_node_that_is_killed_is_the_cause_and_named_with_its_node(
    tmp_path: Path, number: int
) -> None:
    there: list[int] = []

    def kill(report: Report) -> Verdict:
        there.extend(_everything_there(os.getpid()))
        os.kill(there[2 + number], signal.SIGKILL)
        return Verdict.CONTINUE

    result = _run(classification(tmp_path / "trial"), kill)

    assert isinstance(result, Broken)
    assert (result.rank, result.error) == (2 + number, "RankDied")
    assert result.reason.startswith(f"rank {2 + number} on node ")
    assert "was killed (SIGKILL)" in result.reason
    wait_until(lambda: not any(map(is_alive, there)))


def test_another_node_that_is_killed_ends_the_trial_and_leaves_nothing(tmp_path: Path) -> None:
    there: list[int] = []

    def kill(report: Report) -> Verdict:
        there.extend(_everything_there(os.getpid()))
        os.kill(there[0], signal.SIGKILL)
        return Verdict.CONTINUE

    result = _run(classification(tmp_path / "trial"), kill)

    assert isinstance(result, Broken)
    assert (result.rank, result.error) == (2, "RankDied")
    assert "rank 2 to 3 ended with their node: the process that 'env' started" in result.reason
    assert "was killed (SIGKILL)" in result.reason
    assert len(there) == 4
    wait_until(lambda: not any(map(is_alive, there)))


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    node = NodeCommand(("sh", "-c", "echo 'node n2: no such node' >&2; exit 3"))

    result = _run(classification(tmp_path / "trial"), Recorder(), node=node)

    assert isinstance(result, Broken)
    assert result.error == "RankDied"
    assert result.reason.endswith("exited with status 3: node n2: no such node")


def test_another_node_that_does_not_start_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks_module, "START_S", 5.0)

    result = _run(
        classification(tmp_path / "trial"), Recorder(), node=NodeCommand(("sh", "-c", "cat >&2"))
    )

    assert isinstance(result, Broken)
    assert result.reason == "rank 2 did not start within 5 s"


def test_a_tick_that_aborts_ends_the_ranks_of_all_nodes(tmp_path: Path) -> None:
    recorder, there = Recorder(), list[int]()

    def tick() -> Demand:
        if not recorder.reports:
            return Demand.GO
        there.extend(_everything_there(os.getpid()))
        return Demand.ABORT

    with pytest.raises(RanksAborted):
        _run(classification(tmp_path / "trial", epochs=1000), recorder, on_tick=tick)

    assert len(there) == 4
    wait_until(lambda: not any(map(is_alive, there)))


def test_signals_for_the_whole_job_leave_the_other_node_to_the_agent(tmp_path: Path) -> None:
    def signal_all(report: Report) -> Verdict:
        for pid in _everything_there(os.getpid()):
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
        return Verdict.CONTINUE

    result = _run(classification(tmp_path / "trial", epochs=2), signal_all)

    assert isinstance(result, Finished)


def test_the_ranks_of_another_node_end_with_the_agent_also_while_they_hang_in_a_collective(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.ranks.agent_double", "hang over nodes", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=pytestconfig.rootpath,
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "reported\n"
        left = [*ranks_of(agent.pid), *_everything_there(agent.pid)]
        assert len(left) == 6

        agent.kill()

        agent.wait(20)
        wait_until(lambda: not any(map(is_alive, left)))


def test_a_demand_stops_all_nodes_at_one_step_and_the_trial_goes_on_where_it_was(
    tmp_path: Path,
) -> None:
    first, second = Recorder(), Recorder()
    spec = classification(tmp_path / "parts", epochs=100_000, batch_size=4)

    stopped = _run(spec, first, on_tick=lambda: Demand.CHECKPOINT if first.reports else Demand.GO)

    assert isinstance(stopped, Finished)
    assert stopped.ending == "stopped"
    before = saved(tmp_path / "parts")
    assert len(before["reports"]) == stopped.epoch
    again = _run(spec, second, on_tick=lambda: Demand.CHECKPOINT)
    assert isinstance(again, Finished)
    assert second.epochs == [stopped.epoch]
    assert same_state(saved(tmp_path / "parts"), before)
