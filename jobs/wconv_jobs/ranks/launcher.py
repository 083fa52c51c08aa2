"""torch's elastic launcher in a thread of its own, for the ranks of one node."""

import platform
import signal
import threading
from pathlib import Path
from typing import Self

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wconv_jobs.messages import EXIT_AGENT_GONE, Broken
from wconv_jobs.ranks import out_of_memory, rank
from wconv_jobs.ranks.fork_server import end_orphans, start_fork_server
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.rank_death import how_it_ended, rank_died
from wconv_jobs.ranks.rank_server import RankServer
from wconv_jobs.ranks.rendezvous import LOOPBACK


def host_of(order: NodeOrder) -> str:
    """Return the host of a rank on this node, for `wconv_jobs.ranks.rank_death.rank_died`."""
    return f" on node {platform.node()}" if order.ranks > order.ranks_here else ""


class Launcher:
    """Starts the ranks of this node and waits for them.

    The launcher knows of this node alone, also when a trial has several: with its own rendezvous
    over nodes, the node that the ranks are counted from depends on addresses, and a node whose
    ranks have ended waits minutes for one that died. Ranks meet at the store of the agent.

    Not in the main thread: there torch's launcher replaces the handlers of SIGTERM and SIGINT,
    with which an agent ends its trial at a checkpoint. To end the ranks, hang up the server.
    """

    def __init__(self, order: NodeOrder, server: RankServer) -> None:
        self.silent_death: Broken | None = None
        """The rank that was the first to end in a disorderly way, if it ended by itself."""
        self.error: Broken | None = None
        """The exception of the launcher itself."""
        self._server, self._order = server, order
        self._ended = threading.Event()
        self._oom_kills_before = out_of_memory.oom_kills()
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=order.ranks_here,
            run_id=order.log_folder.name,
            # One node has nobody to wait for: c10d would look for others ten times a second.
            rdzv_backend="static",
            rdzv_configs={"rank": 0},
            rdzv_endpoint=f"{LOOPBACK}:0",
            local_addr=LOOPBACK,
            max_restarts=0,
            start_method="forkserver",
            logs_specs=DefaultLogsSpecs(log_dir=str(order.log_folder), redirects=Std.ALL),
        )
        entry = elastic_launch(config, rank.main)
        # Not str: in a string, the launcher would replace "$$" and "${local_rank}".
        arguments = server.address, order.model_dump_json().encode()
        self._thread = threading.Thread(
            target=self._run, args=(entry, arguments), name="elastic launcher", daemon=True
        )

    def __enter__(self) -> Self:
        start_fork_server()
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

    def _run(self, entry: elastic_launch, arguments: tuple[Path, bytes]) -> None:
        try:
            entry(*arguments)
        except ChildFailedError as error:
            local_rank, failure = error.get_first_failure()
            if failure.exitcode != EXIT_AGENT_GONE:
                number = self._order.first_rank + local_rank
                self.silent_death = self._death(number, failure.exitcode)
        except Exception as error:
            # No process, no memory, no free port: this trial fails, but the agent continues.
            self.error = rank.describe(error, self._order.first_rank)
        finally:
            self._ended.set()
            self._server.wake()

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
