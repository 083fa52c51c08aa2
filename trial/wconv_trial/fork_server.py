"""The process, with torch loaded, that the programs of a trainer are forked from.

An agent starts it in the interpreter of the trainer:

    python -c "from wconv_trial.fork_server import main; main(4, ['torch'])"

For each rank that connects to the socket with descriptor 4 it forks a keeper, which forks a
program, see `wconv_trial.keeper`. It ends with the agent, which holds the other end of its
standard input, and with it whatever the programs have started.
"""

import importlib
import os
import selectors
import signal
import socket
import sys
from typing import List, Optional, Set

from wconv_trial.descendants import adopt_orphans, kill_descendants, kill_orphans
from wconv_trial.forked import Order, run
from wconv_trial.keeper import Keeper, Waker

WITH_TORCH = ("torch.distributed", "torch._dynamo", "torch.utils.serialization")
"""What a training imports a little later, and the first step of any optimizer (torch._dynamo)."""
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that terminals and SLURM send to every process; programs may handle them."""


def main(listener: int, modules: List[str]) -> None:
    """Serve until the agent ends; in each forked process, be its program.

    Args:
        listener: descriptor of a listening Unix socket.
        modules: to be loaded first.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if sys.path[0] == "":
        del sys.path[0]  # of -c; a program's own folder takes its place
    order = _Server(socket.socket(fileno=listener), _loaded(modules)).serve()
    if order is not None:
        run(order)


def _loaded(modules: List[str]) -> Optional[str]:
    """Load modules, and return why nothing may be forked from them all the same; None if it may.

    Nothing that imports make is garbage: looking for it takes a fifth of their time, and in each
    program it would touch, and so copy, the memory that all of them share (`gc.freeze`).
    """
    import gc

    gc.disable()
    try:
        for name in modules:
            importlib.import_module(name)
    except Exception as error:
        return f"{name} cannot be imported ({error})"
    if "torch" in modules:
        for name in (*WITH_TORCH, "wconv_kernels"):
            try:
                importlib.import_module(name)
            except Exception:  # another version; wconv_kernels needs Python 3.10
                continue
    gc.freeze()
    gc.enable()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "the GPU is in use, which no forked process can share"
    # Threads that libraries end themselves when a process forks, as those of OpenBLAS, are gone.
    nothing = os.fork()
    if nothing == 0:
        os._exit(0)
    os.waitpid(nothing, 0)
    if len(os.listdir("/proc/self/task")) > 1:
        return "{} have started threads".format(", ".join(modules))
    return None


class _Server:
    """Forks keepers, and kills what one leaves that was killed itself."""

    def __init__(self, listener: socket.socket, unfit: Optional[str]) -> None:
        self._listener, self._unfit = listener, unfit
        self._keepers: Set[int] = set()
        adopt_orphans()
        self._waker = Waker()
        self._selector = selectors.DefaultSelector()
        for watched in (listener.fileno(), sys.stdin.fileno(), self._waker.fileno()):
            self._selector.register(watched, selectors.EVENT_READ)

    def serve(self) -> Optional[Order]:
        """Serve until the agent ends; return what a forked process is to do, and None at last."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == sys.stdin.fileno():
                    kill_descendants()
                    return None
                if key.fd == self._waker.fileno():
                    self._waker.sleep()
                    self._bury()
                else:
                    connected, _ = self._listener.accept()
                    server = os.getpid()
                    keeper = os.fork()
                    if keeper == 0:
                        self._leave()
                        return Keeper(connected, server).keep(self._unfit)
                    connected.close()
                    self._keepers.add(keeper)

    def _bury(self) -> None:
        """Forget the keepers that have ended, and what they have left."""
        killed = False
        while self._keepers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            killed = killed or (pid in self._keepers and os.WIFSIGNALED(status))
            self._keepers.discard(pid)
        if killed:
            kill_orphans(os.getpid())

    def _leave(self) -> None:
        """In a keeper: have nothing of the server."""
        self._selector.close()
        self._waker.close()
        self._listener.close()
