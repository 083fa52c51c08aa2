"""Another node with its part of the ranks, as the agent sees it."""

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Self

from wconv_jobs.messages import AnyMessage, Broken, ChannelError, NodeEnded, parse
from wconv_jobs.ranks.lifeline import PULSE, PULSE_S
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.placement import NodeCommand
from wconv_jobs.ranks.rank_death import how_it_ended, rank_died

END_S = 30.0
"""Time for another node to end its ranks after the agent has hung up, seconds."""
LOG_FILE = "node.log"
"""Output of a node's process and of the command that starts it, in its log folder."""


class RemoteNode:
    """Starts `wconv_jobs.ranks.node` there, collects its messages, and holds its lifeline.

    Args:
        node: how to start a process there.
        order: its part of the ranks.
        wake: called from another thread when something was said.
    """

    def __init__(self, node: NodeCommand, order: NodeOrder, wake: Callable[[], None]) -> None:
        self._node, self._order, self._wake = node, order, wake
        self._said: queue.SimpleQueue[AnyMessage] = queue.SimpleQueue()
        self._hung_up = threading.Event()
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._order.log_folder.mkdir(parents=True, exist_ok=True)
        command = [*self._node.command, sys.executable, "-u", "-m", "wconv_jobs.ranks.node"]
        with (self._order.log_folder / LOG_FILE).open("wb") as log:
            # A session of its own: Ctrl-C is for the agent, which ends its nodes in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        self._write(self._order.model_dump_json().encode() + b"\n")
        for target in (self._read, self._pulse):
            self._threads.append(threading.Thread(target=target, name="node", daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            # Its lifeline is cut, also behind a command that does not pass this on.
            self._process.kill()
        for thread in self._threads:
            thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def ended(self) -> bool:
        """Whether the node has ended its messages; check before `messages`."""
        return self._ended.is_set()

    def messages(self) -> list[AnyMessage]:
        """Return the messages since the last call."""
        return [self._said.get() for _ in range(self._said.qsize())]

    def hang_up(self) -> None:
        """Cut the lifeline of the ranks there."""
        assert self._process.stdin is not None
        self._hung_up.set()
        with self._writing:
            self._process.stdin.close()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        # The other thread notices whether it has ended, and how.
        with self._writing, contextlib.suppress(BrokenPipeError):
            if not self._process.stdin.closed:
                self._process.stdin.write(line)

    def _pulse(self) -> None:
        while not self._hung_up.wait(PULSE_S):
            self._write(PULSE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        all_said = False
        for line in self._process.stdout:
            # A login script of the node may print lines, too.
            with contextlib.suppress(ChannelError):
                message = parse(line)
                all_said = isinstance(message, NodeEnded)
                self._said.put(message)
                self._wake()
        status = self._process.wait()
        if not all_said and not self._hung_up.is_set():
            self._said.put(NodeEnded(death=self._death(status), error=None, lost=None))
        self._ended.set()
        self._wake()

    def _death(self, status: int) -> Broken:
        first = self._order.first_rank
        last = first + self._order.ranks_here - 1
        printed = (self._order.log_folder / LOG_FILE).read_text("utf-8", "replace").split("\n")
        words = [line for line in printed if line.strip()]
        how = (
            f"to {last} ended with their node: the process that '{' '.join(self._node.command)}' "
            f"started {how_it_ended(status)}"
        )
        return rank_died(f"{how}: {words[-1].strip()}" if words else how, first)
