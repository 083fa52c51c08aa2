"""The agent's end of the channel: whole messages, lost ranks, and paths that fit."""

import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from wconv_jobs.messages import Broken, Finished, Hello, Left, Message, Report, Stepped, Verdict
from wconv_jobs.ranks.private_socket import short_temporary_folder
from wconv_jobs.ranks.rank_server import RankServer

_REPORT = Report(epoch=1, metrics={"accuracy": 0.5}, epoch_s=1.0)
_FINISHED = Finished(ending="complete", epoch=1, metrics={}, provenance={})


def _line(message: Message) -> bytes:
    return message.model_dump_json().encode() + b"\n"


def _connect(server: RankServer, rank: int) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(server.address))
    connection.sendall(_line(Hello(rank=rank)))
    return connection


def test_messages_that_arrive_in_pieces_are_put_together() -> None:
    line = _line(_REPORT)
    with RankServer() as server, _connect(server, 0) as rank:
        hello = server.messages(60)
        rank.sendall(line[:10])
        first = server.messages(0)
        rank.sendall(line[10:] + line + line[:1])
        second = server.messages(60)
        rank.sendall(line[1:])
        third = server.messages(60)

    assert hello == [Hello(rank=0)]
    assert (first, second, third) == ([], [_REPORT, _REPORT], [_REPORT])


def test_a_message_longer_than_one_read_arrives_whole() -> None:
    long = Broken(rank=0, error="E", reason="x" * 300_000, where="", traceback="")
    with RankServer() as server, _connect(server, 0) as rank:
        sender = threading.Thread(target=rank.sendall, args=(_line(long),))
        sender.start()

        arrived: list[Message] = []
        while long not in arrived:
            arrived += server.messages(60)
        sender.join()

    assert arrived == [Hello(rank=0), long]


def test_the_verdict_goes_to_rank_0_alone() -> None:
    with RankServer() as server, _connect(server, 1) as one, _connect(server, 0) as zero:
        server.messages(0)

        server.answer(Verdict.STOP)

        one.setblocking(False)
        assert zero.recv(100) == b"stop\n"
        with pytest.raises(BlockingIOError):
            one.recv(100)


def test_a_verdict_for_a_rank_that_has_died_is_dropped() -> None:
    with RankServer() as server:
        with _connect(server, 0) as rank:
            rank.sendall(_line(_REPORT))
        arrived = server.messages(0)

        server.answer(Verdict.CONTINUE)

    assert arrived == [Hello(rank=0), _REPORT]
    assert server.lost == 0


def test_a_verdict_for_a_rank_that_dies_at_that_moment_is_dropped() -> None:
    with RankServer() as server:
        with _connect(server, 0):
            server.messages(0)

        server.answer(Verdict.CONTINUE)


@pytest.mark.parametrize("early", [True, False])
def test_a_checkpoint_is_demanded_of_rank_0_alone_and_once_also_before_it_is_there(
    early: bool,
) -> None:
    with RankServer() as server:
        if early:
            server.demand_checkpoint()
        with _connect(server, 1) as one, _connect(server, 0) as zero:
            server.messages(0)
            server.demand_checkpoint()
            server.demand_checkpoint()
            server.answer(Verdict.STOP)

            one.setblocking(False)
            heard = b""
            while not heard.endswith(b"stop\n"):
                heard += zero.recv(100)
            assert heard == b"checkpoint\nstop\n"
            with pytest.raises(BlockingIOError):
                one.recv(100)


@pytest.mark.parametrize(
    "last_words",
    [_FINISHED, Left(rank=0), Broken(rank=0, error="E", reason="", where="", traceback="")],
)
def test_a_rank_that_says_how_it_ended_is_not_lost(last_words: Finished | Left | Broken) -> None:
    with RankServer() as server:
        with _connect(server, 0) as rank:
            rank.sendall(_line(last_words))
        arrived = server.messages(0)

    assert arrived == [Hello(rank=0), last_words]
    assert server.lost is None


def test_a_rank_that_ends_after_its_first_step_without_a_word_is_lost() -> None:
    with RankServer() as server:
        with _connect(server, 0) as rank:
            rank.sendall(_line(Stepped()))
        arrived = server.messages(0)

    assert arrived == [Hello(rank=0), Stepped()]
    assert server.lost == 0


def test_the_first_lost_rank_is_remembered() -> None:
    with RankServer() as server:
        zero, one = _connect(server, 0), _connect(server, 1)
        server.messages(0)
        one.close()
        server.messages(0)
        zero.close()
        server.messages(0)

    assert server.lost == 1


def test_what_is_not_a_message_breaks_the_trial_and_not_the_agent() -> None:
    with RankServer() as server, _connect(server, 1) as rank:
        rank.sendall(b"Segmentation fault\n")

        hello, broken = server.messages(0)

    assert hello == Hello(rank=1)
    assert isinstance(broken, Broken)
    assert (broken.rank, broken.error) == (1, "ChannelError")
    assert "b'Segmentation fault', which is not a message" in broken.reason


def test_hanging_up_ends_connected_waiting_and_late_ranks() -> None:
    with RankServer() as server:
        connected = _connect(server, 0)
        server.messages(0)
        waiting = _connect(server, 1)

        server.hang_up()

        assert connected.recv(1) == b""
        with waiting, pytest.raises(ConnectionResetError):
            waiting.recv(1)
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
            late.connect(str(server.address))
        assert server.messages(0) == []
        connected.close()


def test_another_thread_can_end_the_wait() -> None:
    with RankServer() as server:
        threading.Timer(0.01, server.wake).start()

        arrived = server.messages(60)

    assert arrived == []
    server.wake()  # too late, and no harm


def test_the_socket_is_the_users_alone_and_removed_at_the_end() -> None:
    with RankServer() as server:
        folder = server.address.parent
        mode = folder.stat().st_mode & 0o777

    assert mode == 0o700
    assert not folder.exists()


def test_a_long_temporary_folder_is_avoided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    with RankServer() as server, _connect(server, 0):
        pass

    assert len(os.fsencode(server.address)) <= 107
    assert list(long.iterdir()) == []


@pytest.mark.parametrize(("letters", "fits"), [(97, True), (98, False)])
def test_a_path_of_107_bytes_fits(
    monkeypatch: pytest.MonkeyPatch, letters: int, fits: bool
) -> None:
    folder = "/" + "x" * (letters - 1)
    monkeypatch.setattr(tempfile, "tempdir", folder)

    chosen = short_temporary_folder(len("/ten-bytes"))

    assert chosen == (folder if fits else "/tmp")
