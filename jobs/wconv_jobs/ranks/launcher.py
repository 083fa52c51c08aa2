"""Starts the ranks of one node and waits for them, in a thread of its own, without torch.

torch's elastic launcher does the same, but loads torch for it, which takes two seconds of each
agent, although an agent trains nothing; and it looks ten times a second whether ranks have ended.
"""

import math
import multiprocessing
import platform
import signal
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from typing import Self

from wconv_jobs.messages import EXIT_AGENT_GONE, Broken
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks import out_of_memory, rank_process
from wconv_jobs.ranks.fork_server import end_orphans, start_fork_server
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.program_server import start_program_server
from wconv_jobs.ranks.rank_death import how_it_ended, rank_died
from wconv_jobs.ranks.rank_server import RankServer

KILL_S = 30.0
"""Time for the other ranks to end after the first one that failed, seconds."""


def host_of(order: NodeOrder) -> str:
    """Return the host of a rank on this node, for `wconv_jobs.ranks.rank_death.rank_died`."""
    return f" on node {platform.node()}" if order.ranks > order.ranks_here else ""


class Launcher:
    """Starts the ranks of this node and waits for them.

    It knows of this node alone, also when a trial has several: ranks meet at the store of the
    agent. To end the ranks, hang up the server.
    """

    def __init__(self, order: NodeOrder, server: RankServer) -> None:
        self.silent_death: Broken | None = None
        """The rank that was the first to end in a disorderly way, if it ended by itself."""
        self.error: Broken | None = None
        """Why ranks could not be started."""
        self._server, self._order = server, order
        self._ended = threading.Event()
        self._oom_kills_before = out_of_memory.oom_kills()
        self._left: dict[int, ForkServerProcess] = {}
        self._thread = threading.Thread(target=self._run, name="launcher", daemon=True)

    def __enter__(self) -> Self:
        start_fork_server()
        if isinstance(self._order.trial, ProgramTrial):
            server = start_program_server(self._order.trial)
            self._order = self._order.model_copy(update={"program_server": server})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.hang_up()
        self._thread.join()
        end_orphans()

    @property
    def ended(self) -> bool:
        """Whether every rank has ended."""
        return self._ended.is_set()

    def _run(self) -> None:
        try:
            self._start()
        except Exception as error:
            # No process, no memory: this trial fails, but the agent continues.
            from wconv_jobs.ranks.rank import describe

            self.error = describe(error, self._order.first_rank)
            for process in self._left.values():
                process.kill()
        finally:
            self._await_end()
            self._ended.set()
            self._server.wake()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        order = self._order
        order_json = order.model_dump_json().encode()
        for local_rank in range(order.ranks_here):
            # As torchrun names them, for a network of the user's that looks.
            variables = {
                "RANK": str(order.first_rank + local_rank),
                "LOCAL_RANK": str(local_rank),
                "WORLD_SIZE": str(order.ranks),
                "LOCAL_WORLD_SIZE": str(order.ranks_here),
            }
            process = context.Process(
                target=rank_process.run,
                args=(
                    *(variables, order.log_folder / str(local_rank), rank_process.main),
                    *(self._server.address, order_json),
                ),
            )
            process.start()
            self._left[local_rank] = process

    def _await_end(self) -> None:
        failed, kill_at = False, math.inf
        while self._left:
            left_s = None if kill_at == math.inf else max(0.0, kill_at - time.monotonic())
            ready = wait([process.sentinel for process in self._left.values()], left_s)
            if not ready:
                for process in self._left.values():
                    process.kill()
                kill_at = math.inf
            for local_rank, process in list(self._left.items()):
                if process.sentinel in ready:
                    process.join()
                    if process.exitcode and not failed:
                        failed, kill_at = True, time.monotonic() + KILL_S
                        self._note_failure(local_rank, process.exitcode)
                    del self._left[local_rank]

    def _note_failure(self, local_rank: int, status: int) -> None:
        if self.error is None and status != EXIT_AGENT_GONE:
            self.silent_death = self._death(self._order.first_rank + local_rank, status)

    def _death(self, number: int, status: int) -> Broken:
        host = host_of(self._order)
        before = self._oom_kills_before
        kills = out_of_memory.oom_kills() if status == -signal.SIGKILL else None
        # Of the whole control group: a rank that was killed by hand while another trial of this
        # agent ran out of memory is taken for one that ran out of memory, too.
        if kills is not None and before is not None and kills > before:
            how = f"the kernel has killed rank {number}{host} for it"
            return out_of_memory.ran_out(out_of_memory.HOST_MEMORY_RAN_OUT, how, number)
        return rank_died(how_it_ended(status), number, host)
