"""The process that the programs of a trainer are forked from, see `wconv_trial.fork_server`.

An agent keeps one for each interpreter and environment: the first program of a trainer pays the
import of torch, later ones start in a tenth of a second instead of seconds.
"""

import atexit
import contextlib
import socket
import subprocess
import tempfile
import threading
from collections.abc import Hashable
from pathlib import Path

from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks.private_socket import short_temporary_folder
from wconv_jobs.ranks.program_channel import link_packages
from wconv_jobs.ranks.program_environment import shared_environment

END_S = 10.0
"""Time that the process has to end by itself, seconds."""

_SERVERS: dict[Hashable, "_Server"] = {}
_STARTING = threading.Lock()
_ROOM = " " * 500
"""Behind its own command line: each program shows its one there."""
_SERVE = "from wconv_trial.fork_server import main; main({}, {!r})"


def start_program_server(trial: ProgramTrial) -> Path | None:
    """Start the process for the programs of a trial, unless it runs, and do not wait for it.

    It ends with this process.

    Returns:
        The path of its socket; None where programs start in interpreters of their own, or this
        interpreter cannot be started.
    """
    if not trial.preload:
        return None
    own = (trial.command[0], trial.preload, trial.threads_per_rank, trial.code_folder)
    key = (*own, tuple(sorted(trial.env.items())))
    with _STARTING:
        server = _SERVERS.get(key)
        if server is None or not server.is_alive():
            if server is not None:
                server.end()
                del _SERVERS[key]
            server = _Server()
            try:
                server.start(trial)
            except OSError:  # the program will say so
                server.end()
                return None
            _SERVERS[key] = server
        return server.address


class _Server:
    """The process, and its socket in a folder of the user's alone."""

    def __init__(self) -> None:
        parent = short_temporary_folder(len("/wconv-12345678/programs"))
        self._folder = tempfile.TemporaryDirectory(prefix="wconv-", dir=parent)
        self.address = Path(self._folder.name) / "programs"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, trial: ProgramTrial) -> None:
        """Start it for the programs of a trial.

        Raises:
            OSError: the interpreter cannot be started.
        """
        packages = self.address.with_name("packages")
        link_packages(packages)
        # Made here, so that a rank that comes early waits until the modules are loaded.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self.address))
            listener.listen(128)
            serve = _SERVE.format(listener.fileno(), list(trial.preload))
            self._process = subprocess.Popen(
                [trial.command[0], "-c", serve, _ROOM],
                env=shared_environment(trial, packages),
                cwd=trial.code_folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """Let it end, and its programs with it."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(END_S)
            except (
                subprocess.TimeoutExpired
            ):  # it still loads modules; what it forked ends with it
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()


@atexit.register
def _end_all() -> None:
    for server in _SERVERS.values():
        with contextlib.suppress(OSError):
            server.end()
