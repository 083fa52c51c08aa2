"""A process that starts its node's part of the ranks: python -m wconv_jobs.ranks.node.

For trials that span nodes; the agent starts it on each of the others. It reads one line from
standard input, a `NodeOrder`, and then watches it: its end, or a long silence, means that the
agent has hung up or died, and ends the ranks. What these say goes to standard output as it comes,
one JSON object a line, and `NodeEnded` when all have ended.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from wconv_jobs.messages import EXIT_AGENT_GONE, AnyMessage, NodeEnded
from wconv_jobs.ranks.agent_signals import ignore_signals
from wconv_jobs.ranks.launcher import Launcher
from wconv_jobs.ranks.lifeline import Lifeline
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.outcome import Outcome
from wconv_jobs.ranks.rank_server import RankServer

TICK_S = 1.0
"""Longest time between two polls of the ranks, seconds."""


def main() -> None:
    """Start the ranks and pass on their messages, until all have ended."""
    ignore_signals()
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(EXIT_AGENT_GONE)
    order = NodeOrder.model_validate_json(line)
    with _messages_alone() as output, RankServer() as server:
        lifeline = Lifeline(sys.stdin.fileno(), server.wake)
        outcome = Outcome()
        with Launcher(order, server) as launcher:
            while True:
                # Asked before reading: the last words of ranks that have ended are then in reach.
                ended = launcher.ended
                for message in server.messages(0 if ended else TICK_S):
                    _send(output, message)
                outcome.lost(server.lost)
                if ended:
                    break
                if lifeline.is_cut or outcome.wants_end:
                    server.hang_up()
        death, error = launcher.silent_death, launcher.error
        _send(output, NodeEnded(death=death, error=error, lost=server.lost))


@contextlib.contextmanager
def _messages_alone() -> Iterator[BinaryIO]:
    """Reserve standard output for messages; other output goes to standard error."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        yield output


def _send(output: BinaryIO, message: AnyMessage) -> None:
    # The agent may have died; the lifeline notices, and ends the ranks.
    with contextlib.suppress(BrokenPipeError):
        output.write(message.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
