"""Starts the ranks of a trial as fresh processes and serves their channel until they end."""

import logging
import multiprocessing
import selectors
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wconv_jobs import rank
from wconv_jobs.channel import Broken, Finished, Report, Verdict, parse
from wconv_jobs.spec import TrialSpec

TICK_S = 1.0
"""Longest time between two calls of `on_tick`, seconds."""


class RanksAborted(Exception):
    """`on_tick` asked for the end; what the ranks did since the last checkpoint is lost."""


def run_ranks(
    spec: TrialSpec,
    *,
    ranks: int,
    log_folder: Path,
    on_report: Callable[[Report], Verdict],
    on_tick: Callable[[], bool],
) -> Finished | Broken:
    """Train one trial on `ranks` fresh processes of this machine and return how it ended.

    The processes come from a fork server that has torch loaded: the first trial of an agent pays
    the import, later ones start in 0.35 s instead of 3 s. torch's elastic launcher watches them,
    with a rendezvous at a free port of the loopback interface. Callbacks run in the calling
    thread.

    Args:
        spec: what to train.
        ranks: number of processes; with CUDA, one GPU each.
        log_folder: gets what each rank prints.
        on_report: answers a report of rank 0.
        on_tick: called at least every `TICK_S`; False ends all ranks at once.

    Raises:
        RanksAborted: `on_tick` returned False.
        Exception: whatever a callback raises; the ranks have ended by then, too.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    with _Server() as server, _Launch(spec, ranks, log_folder, server) as launch:
        finished: Finished | None = None
        broken: Broken | None = None
        while not launch.ended:
            for message in server.messages(TICK_S):
                if isinstance(message, Report):
                    server.answer(on_report(message))
                elif isinstance(message, Finished):
                    finished = message
                elif isinstance(message, Broken):
                    broken = _root_cause(broken, message)
            if not on_tick():
                raise RanksAborted
        # What the ranks wrote just before they ended may still wait in the sockets.
        for message in server.messages(0):
            if isinstance(message, Finished):
                finished = message
            elif isinstance(message, Broken):
                broken = _root_cause(broken, message)
        return (
            launch.killed
            or broken
            or launch.failure
            or finished
            or _died("the ranks ended without a word")
        )


class _Server:
    """The agent's end of the channel: one listening socket, one connection a rank."""

    def __init__(self) -> None:
        # Not in the run folder: the path of a Unix socket must be shorter than 108 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="wconv-")
        self.address = Path(self._folder.name) / "agent"
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.address))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._partial: dict[socket.socket, bytes] = {}
        self._rank_0: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._wake_in.close()
        self._wake_out.close()
        self._selector.close()
        self._folder.cleanup()

    def close(self) -> None:
        """Cut every rank's lifeline."""
        self._listener.close()
        for connection in self._partial:
            connection.close()
        self._partial.clear()

    def wake(self) -> None:
        """Let `messages` return; callable from any thread."""
        self._wake_out.send(b"x")

    def messages(self, timeout_s: float) -> list[Report | Finished | Broken]:
        """Return what has arrived, waiting at most `timeout_s` for the first message."""
        arrived: list[Report | Finished | Broken] = []
        while True:
            events = self._selector.select(0 if arrived else timeout_s)
            for key, _ in events:
                arrived += self._read(key.fileobj)
            if not events or self._wake_in in [key.fileobj for key, _ in events]:
                return arrived
            timeout_s = 0

    def answer(self, verdict: Verdict) -> None:
        """Send rank 0 the verdict on its report."""
        if self._rank_0 is not None:
            try:
                self._rank_0.sendall(f"{verdict}\n".encode())
            except (BrokenPipeError, ConnectionResetError):
                # Rank 0 has died since; the launcher says how.
                return

    def _read(self, source: object) -> list[Report | Finished | Broken]:
        if source is self._listener:
            connection, _ = self._listener.accept()
            self._partial[connection] = b""
            self._selector.register(connection, selectors.EVENT_READ)
            return []
        assert isinstance(source, socket.socket)
        try:
            received = source.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received or source is self._wake_in:
            if source is not self._wake_in:
                self._selector.unregister(source)
                self._partial.pop(source)
                source.close()
            return []
        *lines, self._partial[source] = (self._partial[source] + received).split(b"\n")
        messages = [parse(line) for line in lines]
        for message in messages:
            if message.kind == "hello" and message.rank == 0:
                self._rank_0 = source
        return [message for message in messages if message.kind != "hello"]


class _Launch:
    """torch's elastic launcher in a thread of its own.

    Not in the main thread: there the launcher replaces the handlers of SIGTERM and SIGINT, with
    which an agent ends its trial at a checkpoint.
    """

    def __init__(self, spec: TrialSpec, ranks: int, log_folder: Path, server: _Server) -> None:
        self.killed: Broken | None = None
        """A rank that was ended by a signal: the cause of its peers' exceptions."""
        self.failure: Broken | None = None
        self._error: Exception | None = None
        self._server = server
        multiprocessing.set_forkserver_preload(
            ["torch", "torch.distributed", "torch._dynamo", rank.__name__]
        )
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=ranks,
            run_id=log_folder.name,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            start_method="forkserver",
            logs_specs=DefaultLogsSpecs(log_dir=str(log_folder), redirects=Std.ALL),
        )
        entry = elastic_launch(config, rank.main)
        arguments = str(server.address), spec.model_dump_json()
        self._thread = threading.Thread(
            target=self._run, args=(entry, arguments), name="elastic launcher", daemon=True
        )

    def __enter__(self) -> Self:
        # Its advice on signal handlers does not apply: the lifeline ends the ranks.
        logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.ERROR)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether every rank has ended."""
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def _run(self, entry: elastic_launch, arguments: tuple[str, str]) -> None:
        try:
            entry(*arguments)
        except ChildFailedError as error:
            number, first = error.get_first_failure()
            self.failure = _died(_exit_message(number, first.exitcode), number)
            # The launcher itself ends the peers of a failed rank with SIGTERM.
            killed = {
                number: failure.exitcode
                for number, failure in error.failures.items()
                if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
            }
            for number, status in killed.items():
                self.killed = _died(_exit_message(number, status), number)
        except Exception as error:
            self._error = error
        finally:
            self._server.wake()


def _root_cause(first: Broken | None, second: Broken) -> Broken:
    """Keep the exception that came first; the others are mostly ranks that lost their peer."""
    return first or second


def _exit_message(number: int, status: int) -> str:
    if status == -signal.SIGKILL:
        return f"rank {number} was killed (SIGKILL): by hand, or because the node's memory ran out"
    if status < 0:
        return f"rank {number} was ended by {signal.Signals(-status).name}"
    return f"rank {number} exited with status {status}"


def _died(message: str, number: int = 0) -> Broken:
    return Broken(
        rank=number, error="RankDied", message=message, where="rank process", traceback=""
    )
