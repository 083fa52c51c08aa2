"""The messages between agent and ranks, and the lifeline."""

import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wconv_jobs.messages import (
    CHECKPOINT_LINE,
    EXIT_AGENT_GONE,
    AnyMessage,
    Broken,
    ChannelError,
    Finished,
    Hello,
    Left,
    NodeEnded,
    Report,
    Verdict,
    parse,
)

_BROKEN = Broken(
    rank=1, error="ValueError", reason="a\nb", where="x.py:3", traceback="t\n", final=True
)


@pytest.mark.parametrize(
    "message",
    [
        Hello(rank=3),
        Left(rank=2),
        NodeEnded(death=_BROKEN, error=None, lost=1),
        Report(epoch=1, metrics={"psnr_db": 0.1 + 0.2, "accuracy": 1.0}, epoch_s=1e-9),
        Finished(ending="complete", epoch=2, metrics={}, provenance={"torch": "2.6"}),
        _BROKEN,
    ],
)
def test_a_message_arrives_as_it_was_sent_on_one_line(
    message: AnyMessage,
) -> None:
    line = message.model_dump_json().encode()

    assert b"\n" not in line
    assert parse(line) == message


def test_a_metric_that_is_not_finite_arrives_as_it_is() -> None:
    sent = Report(
        epoch=1, metrics={"a": math.nan, "b": math.inf, "c": -math.inf}, epoch_s=math.inf
    )

    arrived = parse(sent.model_dump_json().encode())

    assert isinstance(arrived, Report)
    assert math.isnan(arrived.metrics["a"])
    assert (arrived.metrics["b"], arrived.metrics["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"{}",
        b'{"kind": "unknown"}',
        b'{"kind": "hello", "rank": 0, "more": 1}',
        b'{"kind": "hello"',
    ],
)
def test_what_is_not_a_message_is_refused_and_shown(line: bytes) -> None:
    with pytest.raises(ChannelError, match=r"a rank sent b'.*', which is not a message"):
        parse(line)


def test_a_long_line_is_shown_in_part() -> None:
    with pytest.raises(ChannelError) as refused:
        parse(b"x" * 10_000)

    assert len(str(refused.value)) < 300


# The rank's end, in a process of its own: it ends the process --------------------------------

_RANK = """
import sys, threading
from pathlib import Path
from wconv_jobs.messages import Broken, Report
from wconv_jobs.ranks.agent_link import AgentLink
link = AgentLink(Path(sys.argv[1]), 0)
print("connected", flush=True)
{then}
"""
_HANG = "threading.Event().wait()"
_REPORT = "print(link.report(Report(epoch=1, metrics={}, epoch_s=0.0)).name, flush=True)\n"


@contextmanager
def _rank(folder: Path, then: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A process with an `AgentLink`, and the agent's end of the connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(60)
        listener.bind(str(folder / "agent"))
        listener.listen()
        code = _RANK.format(then=then)
        with subprocess.Popen(
            [sys.executable, "-c", code, str(folder / "agent")], stdout=subprocess.PIPE
        ) as process:
            connection, _ = listener.accept()
            with connection:
                yield process, connection


@pytest.mark.slow
def test_a_rank_reports_and_hears_the_verdict(tmp_path: Path) -> None:
    with _rank(tmp_path, _REPORT + _HANG) as (process, connection):
        assert process.stdout is not None
        assert process.stdout.readline() == b"connected\n"
        lines = connection.makefile("rb")

        heard = [parse(lines.readline()), parse(lines.readline())]
        connection.sendall(f"{Verdict.PRUNE}\n".encode())

        assert heard == [Hello(rank=0), Report(epoch=1, metrics={}, epoch_s=0.0)]
        assert process.stdout.readline() == b"PRUNE\n"
        lines.close()


@pytest.mark.slow
def test_a_demand_is_heard_at_any_time_and_is_no_verdict(tmp_path: Path) -> None:
    then = _REPORT + "print(link.checkpoint_is_demanded(), flush=True)\n" + _HANG
    with _rank(tmp_path, then) as (process, connection):
        assert process.stdout is not None
        process.stdout.readline()

        connection.sendall(CHECKPOINT_LINE + f"{Verdict.CONTINUE}\n".encode())

        assert process.stdout.readline() == b"CONTINUE\n"
        assert process.stdout.readline() == b"True\n"


@pytest.mark.slow
@pytest.mark.parametrize("then", [_HANG, _REPORT])
def test_a_rank_ends_with_status_75_when_the_agent_hangs_up(tmp_path: Path, then: str) -> None:
    with _rank(tmp_path, then) as (process, connection):
        assert process.stdout is not None
        process.stdout.readline()

        connection.shutdown(socket.SHUT_RDWR)

        assert process.wait(60) == EXIT_AGENT_GONE == 75


@pytest.mark.slow
def test_a_rank_that_breaks_off_waits_for_the_agent_to_hang_up(tmp_path: Path) -> None:
    then = f"link.break_off(Broken(**{_BROKEN.model_dump()!r}))"
    with _rank(tmp_path, then) as (process, connection):
        with connection.makefile("rb") as lines:
            heard = [parse(lines.readline()), parse(lines.readline())]
        still_there = process.poll() is None

        connection.shutdown(socket.SHUT_RDWR)

        assert heard[1] == _BROKEN
        assert still_there
        assert process.wait(60) == EXIT_AGENT_GONE


@pytest.mark.slow
@pytest.mark.parametrize("listener_was_there", [True, False])
def test_a_rank_that_comes_after_the_agent_has_gone_ends_with_status_75(
    tmp_path: Path, listener_was_there: bool
) -> None:
    if listener_was_there:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "agent"))

    ended = subprocess.run(
        [sys.executable, "-c", _RANK.format(then=_HANG), str(tmp_path / "agent")],
        capture_output=True,
    )

    assert (ended.returncode, ended.stderr) == (EXIT_AGENT_GONE, b"")


def test_channel_specification_and_server_do_not_import_torch() -> None:
    code = (
        "import sys, wconv_jobs.messages, wconv_jobs.spec, wconv_jobs.ranks.rank_server; "
        "import wconv_jobs.ranks.placement, wconv_jobs.ranks.node_order; "
        "import wconv_jobs.ranks.lifeline; "
        "sys.exit('torch' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
