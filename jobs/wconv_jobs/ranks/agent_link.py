"""A rank's end of the channel to its agent, which is also the rank's lifeline."""

import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from wconv_jobs.messages import (
    CHECKPOINT_LINE,
    EXIT_AGENT_GONE,
    LEAVE_LINE,
    AnyMessage,
    Broken,
    Hello,
    Report,
    Verdict,
)


class AgentLink:
    """A rank's end of the channel.

    From its construction on, the rank ends with status `EXIT_AGENT_GONE` as soon as the agent
    closes the channel or dies, whatever the rank is doing.
    """

    def __init__(self, address: Path, rank: int) -> None:
        self.before_end: Callable[[bool], None] = lambda asked: None
        """Called from another thread before the rank ends so; true if the agent lives and asked
        it to leave."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(address))
        except (ConnectionRefusedError, FileNotFoundError):
            os._exit(EXIT_AGENT_GONE)
        self._verdicts: queue.SimpleQueue[Verdict] = queue.SimpleQueue()
        self._demanded = threading.Event()
        self.send(Hello(rank=rank))
        threading.Thread(target=self._watch, name="agent lifeline", daemon=True).start()

    def report(self, report: Report) -> Verdict:
        """Send a report and wait for the agent's verdict."""
        self.send(report)
        return self._verdicts.get()

    def checkpoint_is_demanded(self) -> bool:
        """Return, without waiting, whether the agent wants the trial to end at a checkpoint."""
        return self._demanded.is_set()

    def send(self, message: AnyMessage) -> None:
        """Send one message and expect no answer."""
        try:
            self._socket.sendall(message.model_dump_json().encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            os._exit(EXIT_AGENT_GONE)

    def break_off(self, broken: Broken) -> NoReturn:
        """Send the rank's exception and wait for the agent to end all ranks.

        A rank that left on its own would break its peers, and their exceptions might be taken for
        the cause.
        """
        self.send(broken)
        while True:
            threading.Event().wait()

    def _watch(self) -> None:
        asked_to_leave = False
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    if line == CHECKPOINT_LINE:
                        self._demanded.set()
                    elif line == LEAVE_LINE:
                        asked_to_leave = True
                    else:
                        self._verdicts.put(Verdict(line.decode().strip()))
            self.before_end(asked_to_leave)
        finally:
            # Not sys.exit: the main thread may be inside a collective that never returns.
            os._exit(EXIT_AGENT_GONE)
