"""torch's elastic launcher in a thread of its own, and the fork server it starts ranks from."""

import logging
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import tempfile
import threading
from pathlib import Path
from typing import Self

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wconv_jobs import memory, rank
from wconv_jobs.channel import EXIT_AGENT_GONE, Broken
from wconv_jobs.rank_server import RankServer, short_temporary_folder
from wconv_jobs.spec import TrialSpec


def rank_died(how: str, number: int) -> Broken:
    """Return the end of a rank that could not tell it itself, e.g. "was killed (SIGKILL)"."""
    return Broken(
        rank=number,
        error="RankDied",
        message=f"rank {number} {how}",
        where="rank process",
        traceback="",
    )


class Launcher:
    """Starts the ranks of a trial and waits for them.

    Not in the main thread: there torch's launcher replaces the handlers of SIGTERM and SIGINT,
    with which an agent ends its trial at a checkpoint. To end the ranks, hang up the server.
    """

    def __init__(self, spec: TrialSpec, ranks: int, log_folder: Path, server: RankServer) -> None:
        self.silent_death: Broken | None = None
        """The rank that was the first to end in a disorderly way, if it ended by itself."""
        self.error: Broken | None = None
        """What the launcher itself raised."""
        self._server = server
        self._oom_kills_before = memory.oom_kills()
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
        # Not str: in a string, the launcher would replace "$$" and "${local_rank}".
        arguments = server.address, spec.model_dump_json().encode()
        self._thread = threading.Thread(
            target=self._run, args=(entry, arguments), name="elastic launcher", daemon=True
        )

    def __enter__(self) -> Self:
        _start_fork_server()
        # Their advice on signal handlers does not apply, and the agent logs how a rank ended.
        for name in ("torch.distributed.elastic.multiprocessing.api", "torch.multiprocessing"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.hang_up()
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether every rank has ended."""
        return not self._thread.is_alive()

    def _run(self, entry: elastic_launch, arguments: tuple[Path, bytes]) -> None:
        try:
            entry(*arguments)
        except ChildFailedError as error:
            number, failure = error.get_first_failure()
            if failure.exitcode != EXIT_AGENT_GONE:
                self.silent_death = _death(number, failure.exitcode, self._oom_kills_before)
        except Exception as error:
            # No process, no memory, no free port: this trial's misfortune, not the agent's end.
            self.error = rank.describe(error, 0)
        finally:
            self._server.wake()


def _start_fork_server() -> None:
    """Start the process that all ranks are forked from, unless it runs already.

    It inherits the mask of blocked signals, and ranks inherit it from there: SLURM sends SIGTERM
    to every process of a job, and the agent needs the ranks to reach their checkpoint.
    """
    multiprocessing.set_forkserver_preload(
        ["torch", "torch.distributed", "torch._dynamo", rank.__name__]
    )
    # First, because it unblocks signals when it starts its own helper.
    multiprocessing.resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, rank.AGENT_SIGNALS)
    folder = tempfile.tempdir
    tempfile.tempdir = short_temporary_folder(len("/pymp-12345678/listener-12345678"))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        tempfile.tempdir = folder
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _death(number: int, status: int, oom_kills_before: int | None) -> Broken:
    kills = memory.oom_kills() if status == -signal.SIGKILL else None
    if kills is not None and oom_kills_before is not None and kills > oom_kills_before:
        how = f"the kernel has killed rank {number} for it"
        return memory.ran_out(memory.HOST_MEMORY_RAN_OUT, how, number)
    return rank_died(_how(status), number)


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed (SIGKILL): by hand, or because the node's memory ran out"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"
