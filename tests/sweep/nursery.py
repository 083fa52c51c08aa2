"""Real processes that need not load their packages: forked from one that has everything loaded.

A command loads its packages for a second, its pilot for three, and the process that the pilot
forks its ranks from for four more. `ForkedSweep` runs the same programs, each in a process of its
own, without that: the nursery, `python -m tests.sweep.nursery RUN`, loads them once for a whole
test run, and forks a process for each connection. Such a process has the command line, folder,
environment, session and files of the one that it stands for. It has other ancestors, and runs the
modules that the nursery has loaded, also where a pilot would take the copy in its run folder:
tests of how programs are started and interrupted take `Sweep`, which starts them.
"""

import atexit
import contextlib
import ctypes
import gc
import json
import os
import pickle
import pkgutil
import random
import runpy
import secrets
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from typing import Any, TypeVar

from tests.once import run_process
from tests.sweep.tiny import Sweep

Result = TypeVar("Result")
_ROOT = Path(__file__).parents[2]
PILOT = "wconv_sweep.pilots.pilot"
_TITLE_ROOM = "." * 1000
"""Makes the command line of the nursery long enough for those of the processes."""
_LARGEST = 200_000
"""Bytes of a request."""


@dataclass(frozen=True)
class Program:
    """A Python program that is to run in a new process."""

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]


# In the processes that ask -----------------------------------------------------------------------


class ForkedSweep(Sweep):
    """The command, run in processes that need not load their packages."""

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """See `Sweep.start`."""
        return _ForkedPopen(
            Program("wconv_sweep", [*arguments], str(self.folder), self._environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def called(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a process of its own, which may fork others, and return its result."""
    with tempfile.TemporaryDirectory() as name:
        call = Path(name) / "call"
        call.write_bytes(pickle.dumps((function, arguments)))
        with _ForkedPopen(
            Program("tests.sweep.called", [str(call)], str(_ROOT), dict(os.environ)),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        result: Result = pickle.loads(call.read_bytes())
        return result


class _ForkedPopen(subprocess.Popen[str]):
    """The handle of a process that the nursery forks, and whose end it reports."""

    def __init__(self, program: Program, **options: Any) -> None:
        self._program = program
        super().__init__(program.module, **options)

    def _execute_child(self, *arguments: Any) -> None:
        # The ends of three pipes, of which every second one is the child's in the end.
        pipes = arguments[10:16]
        files = pipes[0], pipes[3], pipes[5]
        self.pid, self._reports = _ask(_address(run_process()), self._program, files)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        ended = _status(self._reports, wait=wait_flags == 0)
        if ended is None:
            return 0, 0
        self._reports.close()
        return self.pid, ended

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None and self._child_created:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def _address(run: int) -> str:
    # In the abstract name space: no file is left behind.
    return f"\0wconv-nursery-{run}"


def _ask(address: str, program: Program, files: Sequence[int]) -> tuple[int, socket.socket]:
    """Ask the nursery for a process, and return its number and where its end is reported."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(address)
    except ConnectionRefusedError:
        _start_nursery()
        connection.connect(address)
    socket.send_fds(connection, [json.dumps(asdict(program)).encode()], files)
    return int(connection.recv(64)), connection


def _status(reports: socket.socket, *, wait: bool) -> int | None:
    """Return the status that `os.waitpid` gave for a process; None while it runs."""
    try:
        status = reports.recv(64, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    # A nursery that dies takes its processes along.
    return int(status) if status else int(signal.SIGKILL)


def _start_nursery() -> None:
    """Start a nursery; of several that are started at once, one stays."""
    nursery = subprocess.Popen(
        [sys.executable, "-m", __name__, str(run_process()), _TITLE_ROOM],
        cwd=_ROOT,
        env=os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert nursery.stdout is not None
    with nursery.stdout:
        assert nursery.stdout.readline() == b"there is one\n"
    nursery.returncode = 0  # it ends after this process


# In the nursery ----------------------------------------------------------------------------------


@dataclass
class _Nursery:
    listener: socket.socket
    run: int
    """Ends when this does."""
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)
    """Process and who asked for it, by the descriptor that shows its end."""

    def serve(self) -> tuple[Program, list[int]] | None:
        """Fork processes; return in each of them what it is, and None at the end."""
        run = os.pidfd_open(self.run)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(run, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fd == run:
                    return None
                if key.fileobj is not self.listener:
                    self._report(key.fd)
                elif (wanted := self._fork()) is not None:
                    os.close(run)
                    return wanted

    def end(self) -> None:
        """Kill what is left."""
        for process, _ in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _fork(self) -> tuple[Program, list[int]] | None:
        connection, _ = self.listener.accept()
        text, files, _, _ = socket.recv_fds(connection, _LARGEST, 3)
        process = os.fork()
        if process == 0:
            connection.close()
            self._forget()
            return Program(**json.loads(text)), files
        for file in files:
            os.close(file)
        connection.sendall(b"%d" % process)
        descriptor = os.pidfd_open(process)
        self.children[descriptor] = process, connection
        self.selector.register(descriptor, selectors.EVENT_READ)
        return None

    def _report(self, descriptor: int) -> None:
        process, connection = self.children.pop(descriptor)
        self.selector.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(process, 0)
        # Who asked may have ended by now.
        with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"%d" % status)

    def _forget(self) -> None:
        """Close in a new process what is the nursery's."""
        self.selector.close()
        self.listener.close()
        for descriptor, (_, connection) in self.children.items():
            os.close(descriptor)
            connection.close()
        self.children.clear()


def _load() -> None:
    """Load all modules of the program, and what the process loads that ranks are forked from."""
    import pytest  # noqa: F401

    import wconv_jobs
    import wconv_sweep

    gc.disable()
    # Those that run as programs are loaded as such, in their process.
    programs = {"wconv_sweep.__main__", PILOT}
    for package in (wconv_jobs, wconv_sweep):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in programs:
                import_module(module.name)
    # None of it is garbage, and each process would copy it as soon as it looks for some.
    gc.freeze()
    gc.enable()


def _become(program: Program, files: list[int], run: int) -> None:
    """Run a program in this process, which was forked for it."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    random.seed()
    sys.argv[1:] = program.arguments
    _show([sys.executable, "-m", program.module, *program.arguments])
    if program.module == PILOT:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
        _fork_the_fork_server()
    else:
        _let_pilots_be_forked(run)
    _run_to_the_end(program.module)


def _run_to_the_end(module: str) -> None:
    """Run a program, and where it ends in good order let it leave the memory to the system.

    Python would free each object at the end, and so first copy all that the nursery has loaded:
    that takes three times as long as a command that shows a study.
    """
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        status = ended.code or 0
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)  # Python says so
    os._exit(status & 0xFF)


def _show(command: Sequence[str | bytes]) -> None:
    """Show a command line in the table of processes instead of that of the nursery."""
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    shown = b"\0".join(map(os.fsencode, command))[: end - begin - 1]
    ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


def _let_pilots_be_forked(run: int) -> None:
    """Let `launch` ask the nursery for its pilots, where it would start them through submitit."""
    from submitit.core.utils import JobPaths

    from wconv_sweep.launching import local_pilots

    class Job:
        def __init__(self, paths: JobPaths, reports: socket.socket) -> None:
            self.paths, self._reports, self._done = paths, reports, False

        def done(self) -> bool:
            self._done = self._done or _status(self._reports, wait=False) is not None
            return self._done

    def start(executor: Any, command: str) -> Job:
        arguments = shlex.split(command)[4:]
        paths = JobPaths(executor.folder, job_id=str(secrets.randbelow(10**9)), task_id=0)
        pilot = Program(PILOT, arguments, os.getcwd(), dict(os.environ))
        with paths.stdout.open("ab") as output, paths.stderr.open("ab") as errors:
            files = [os.open(os.devnull, os.O_RDONLY), output.fileno(), errors.fileno()]
            _, reports = _ask(_address(run), pilot, files)
            os.close(files[0])
        return Job(paths, reports)

    local_pilots._CommandExecutor.start = start  # type: ignore[method-assign, assignment]


def _fork_the_fork_server() -> None:
    """Fork the process that ranks are forked from, now, while there is one thread."""
    from wconv_jobs.ranks.fork_server import start_fork_server

    spawn = util.spawnv_passfds

    def fork(path: bytes, arguments: list[Any], kept: Sequence[int]) -> int:
        if "multiprocessing.forkserver" not in arguments[-1]:
            return spawn(path, arguments, kept)
        process = os.fork()
        if process:
            return process
        try:
            for name in os.listdir("/proc/self/fd"):
                if int(name) > 2 and int(name) not in kept:
                    with contextlib.suppress(OSError):
                        os.close(int(name))
            _show(arguments)
            exec(arguments[-1], {})
        except SystemExit:
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)

    util.spawnv_passfds = fork  # type: ignore[assignment]
    start_fork_server()


def main() -> None:
    """Be the nursery of a test run, and in the processes that are forked what was asked for."""
    run = int(sys.argv[1])
    del sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(_address(run))
    except OSError:
        listener.close()
        print("there is one", flush=True)
        return
    listener.listen(100)
    print("there is one", flush=True)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
    _load()
    nursery = _Nursery(listener, run)
    wanted = nursery.serve()
    if wanted is None:
        nursery.end()
    else:
        _become(*wanted, run)


if __name__ == "__main__":
    main()
