"""A program's end of the channel to its agent: a Unix socket, one JSON object a line."""

import json
import os
import platform
import queue
import socket
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any, Dict, Optional, Type

from wconv_trial.errors import TrialDiverged, TrialError
from wconv_trial.names import EXIT_AGENT_GONE

PACKAGES = ("torch", "lightning", "pytorch_lightning", "accelerate", "transformers", "numpy")
"""Packages whose versions belong to a result, if the program has loaded them."""


class Agent:
    """The agent that started this program, which ends with it: also while it hangs in a
    collective, which is why a thread of its own listens.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(address)
        except OSError:
            os._exit(EXIT_AGENT_GONE)
        self._answers: queue.Queue[Dict[str, Any]] = queue.Queue()
        self._pid = os.getpid()
        threading.Thread(target=self._listen, name="agent", daemon=True).start()

    def ask(self, kind: str, **content: Any) -> Dict[str, Any]:
        """Send a message and return the answer.

        Raises:
            TrialError: the agent refuses it, or another process of the program owns the trial.
        """
        if os.getpid() != self._pid:
            raise TrialError(
                "the trial belongs to the process that called begin(); this one was forked from "
                "it. Report from the training process itself."
            )
        self._send(dict(content, kind=kind))
        answer = self._answers.get()
        if "refused" in answer:
            raise TrialError(answer["refused"])
        return answer

    def tell_failures(self) -> None:
        """Let the agent know at once of an exception that ends this program.

        Its peers break when they miss it, and theirs must not be taken for the cause.
        """
        before = sys.excepthook

        def tell(
            kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
        ) -> None:
            before(kind, error, trace)
            sys.stderr.flush()
            if os.getpid() == self._pid and isinstance(error, Exception):
                self._send(_failure(kind, error, trace))
                # A process that left by itself would break its peers. The agent ends it.
                while True:
                    time.sleep(60)

        sys.excepthook = tell

    def _send(self, message: Dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(EXIT_AGENT_GONE)

    def _listen(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._answers.put(json.loads(line.decode()))
        finally:
            # Not sys.exit: the main thread may be inside a collective that never returns.
            os._exit(EXIT_AGENT_GONE)


def origin() -> Dict[str, str]:
    """Return the interpreter, the versions and the device that a result comes from."""
    found = {
        "python": f"{sys.version.split()[0]} ({sys.executable})",
        "device": f"cpu ({platform.machine()})",
        "host": platform.node(),
    }
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["device"] = str(torch.cuda.get_device_name())
        found["cuda"] = str(torch.version.cuda or torch.version.hip)
    for name in PACKAGES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found


def joined_ranks() -> int:
    """Return the number of ranks in the process group of torch.distributed; 0: there is none."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 0
    return int(distributed.get_world_size())


def _failure(
    kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
) -> Dict[str, Any]:
    # The innermost line that is not of this package tells equal failures.
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if os.path.dirname(frame.filename) != os.path.dirname(__file__)
    ]
    return {
        "kind": "failed",
        "error": "TrainingDiverged" if isinstance(error, TrialDiverged) else kind.__name__,
        "reason": str(error),
        "where": f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}"
        if frames
        else "unknown",
        "traceback": "".join(traceback.format_exception(kind, error, trace)),
        "final": isinstance(error, (TrialError, TrialDiverged)),
    }
