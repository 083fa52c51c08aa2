"""A forked program cannot be told from one in a new interpreter, and ends in every case."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.trials import Process, is_alive, processes, wait_until
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks import program_server, spawned_program
from wconv_jobs.ranks.agent_signals import AGENT_SIGNALS, ignore_signals
from wconv_jobs.ranks.forked_program import ForkedProgram
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.program_channel import ProgramChannel
from wconv_jobs.ranks.program_environment import program_environment
from wconv_jobs.ranks.program_process import ProgramProcess
from wconv_jobs.ranks.program_server import start_program_server
from wconv_jobs.ranks.spawned_program import SpawnedProgram

PROGRAM = """
import atexit, json, os, signal, stat, subprocess, sys, threading, time
import beside

what = sys.argv[1]
if what == "describe":
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGUSR1")
    own = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    print(json.dumps({
        "argv": sys.argv,
        "orig_argv": getattr(sys, "orig_argv", None),
        "path": ["packages" if each == own else each for each in sys.path],
        "name": __name__,
        "file": __file__,
        "package": __package__,
        "is_main": sys.modules["__main__"].__dict__ is globals(),
        "globals": sorted(set(globals()) - {"__cached__"}),
        "beside": beside.__file__,
        "folder": os.getcwd(),
        "env": {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "WCONV_TRIAL")},
        "signals": [str(signal.getsignal(getattr(signal, name))) for name in names],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": signal.set_wakeup_fd(-1),
        "leads": os.getpid() == os.getsid(0) == os.getpgid(0),
        "files": sorted(os.listdir("/proc/self/fd"), key=int)[:-1],
        "input": os.fstat(0).st_rdev,
        "threads": [threading.active_count(), len(os.listdir("/proc/self/task"))],
        "in_main": threading.current_thread() is threading.main_thread(),
        "at_once": sys.stdout.write_through,
        "safe_path": getattr(sys.flags, "safe_path", None),
        "shown": open("/proc/self/cmdline").read().rstrip("\\0"),
    }))
elif what == "raise":
    def fail():
        raise KeyError("x")
    fail()
elif what == "leave":
    sys.exit("no such option")
elif what == "status":
    atexit.register(print, "at exit")
    threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
    sys.exit(3)
elif what == "interrupt":
    raise KeyboardInterrupt
elif what == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
else:
    sleeper = ["sleep", "600"]
    left = [subprocess.Popen(sleeper, start_new_session=own).pid for own in (False, True)]
    with open("pids.new", "w") as file:
        file.write("%s %s %s" % (os.getpid(), *left))
    os.rename("pids.new", "pids")
    time.sleep(600)
"""
WAYS = ("describe", "raise", "leave", "status", "interrupt", "crash")


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgramTrial]:
    """A program, as a rank would run it."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    # Of a rank: these tests have descendants of their own.
    for name in ("adopt_orphans", "kill_descendants"):
        monkeypatch.setattr(spawned_program, name, lambda: None)
    handlers = {number: signal.getsignal(number) for number in AGENT_SIGNALS}
    ignore_signals()
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(PROGRAM, "utf-8")
    (code / "beside.py").touch()
    yield ProgramTrial(
        command=(sys.executable, "train.py"),
        preload=("json",),
        env={"WHO": "me"},
        options={},
        metric="accuracy",
        reports=1,
        density=(0.8,),
        seed=17,
        checkpoint_folder=tmp_path,
        code_folder=code,
    )
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for server in program_server._SERVERS.values():
        server.end()
    program_server._SERVERS.clear()


class _Run:
    """A program that runs, forked where there is a process to fork it from."""

    def __init__(self, trial: ProgramTrial, *arguments: str, server: Path | None) -> None:
        assert trial.code_folder is not None
        order = NodeOrder(
            trial=trial,
            ranks=1,
            ranks_here=1,
            address="n1",
            port=0,
            log_folder=trial.code_folder,
        )
        self.ended = threading.Event()
        self.process = ProgramProcess(server)
        with ProgramChannel() as channel:
            self.process.start(
                [*trial.command, *(arguments or ["sleep"])],
                env=program_environment(order, trial, channel, 4321),
                folder=trial.code_folder,
                on_end=self.ended.set,
            )
            if arguments:
                assert self.ended.wait(60)
                self.process.end()


def _said(
    capfd: pytest.CaptureFixture[str], trial: ProgramTrial, way: str, server: Path | None
) -> tuple[int | None, str, str]:
    capfd.readouterr()
    run = _Run(trial, way, server=server)
    output, errors = capfd.readouterr()
    assert isinstance(run.process._process, ForkedProgram if server else SpawnedProgram)
    return run.process.status, output, errors


@pytest.mark.slow
@pytest.mark.parametrize("as_module", [False, True], ids=["file", "module"])
def test_a_forked_program_is_one_in_a_new_interpreter(
    trial: ProgramTrial,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_module: bool,
) -> None:
    if as_module:
        trial = trial.model_copy(update={"command": (sys.executable, "-m", "train")})
    server = start_program_server(trial)
    assert server is not None
    # As of torch's launcher, which sets it in the agent while it starts ranks.
    monkeypatch.setenv("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM")

    for way in WAYS:
        new = _said(capfd, trial, way, None)
        forked = _said(capfd, trial, way, server)

        if way == "describe":
            assert json.loads(forked[1]) == json.loads(new[1])
            assert forked[0] == 0
        else:
            assert forked == new, way
            assert forked[0] not in (0, None)


def _kill(server: "program_server._Server") -> None:
    assert server._process is not None
    server._process.kill()
    server._process.wait()


def _parent(pid: int) -> Process:
    """The process that a program was forked or started by."""
    parent = next(each.parent for each in processes() if each.pid == pid)
    return next(each for each in processes() if each.pid == parent)


def _started(trial: ProgramTrial, server: Path | None) -> tuple[_Run, list[int]]:
    run = _Run(trial, server=server)
    assert trial.code_folder is not None
    pids = trial.code_folder / "pids"
    wait_until(pids.exists)
    return run, [int(each) for each in pids.read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "cut", "keeper killed", "server killed", "agent ends"])
def test_nothing_of_a_forked_program_is_left_however_it_ends(
    trial: ProgramTrial, end: str
) -> None:
    server = start_program_server(trial)
    run, pids = _started(trial, server)
    (own,) = program_server._SERVERS.values()
    keeper = _parent(pids[0])
    assert "wconv_trial.fork_server" in keeper.command

    if end == "killed":
        run.process.end()
        assert not any(map(is_alive, pids))
    elif end == "cut":  # as the kernel does for a rank that dies
        assert run.process._asked is not None
        run.process._asked.cut()
    elif end == "server killed":
        _kill(own)
    elif end == "keeper killed":
        os.kill(keeper.pid, signal.SIGKILL)
    else:
        own.end()

    wait_until(lambda: not any(map(is_alive, pids)))
    assert run.ended.wait(60)
    wait_until(lambda: run.process.status == -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("why", ["no module", "other variable", "shadowed", "died"])
def test_a_program_that_could_be_told_from_one_in_a_new_interpreter_gets_one(
    trial: ProgramTrial, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no module":
        trial = trial.model_copy(update={"preload": ("no_such_module",)})
    server = start_program_server(trial)
    assert trial.code_folder is not None
    if why == "other variable":
        monkeypatch.setenv("MKL_NUM_THREADS", "3")
    elif why == "shadowed":
        (trial.code_folder / "json.py").write_text("from_here = True\ndumps = str\n")
    elif why == "died":
        (own,) = program_server._SERVERS.values()
        _kill(own)

    run, (pid, *_) = _started(trial, server)

    try:
        assert "fork_server" not in _parent(pid).command
    finally:
        run.process.end()


@pytest.mark.slow
def test_one_process_is_kept_for_each_interpreter_and_environment(trial: ProgramTrial) -> None:
    first = start_program_server(trial)
    again = start_program_server(trial.model_copy(update={"density": (0.9,), "seed": 3}))
    other = start_program_server(trial.model_copy(update={"env": {"WHO": "you"}}))
    missing = trial.model_copy(update={"command": ("/no/such/python", "train.py")})

    assert first == again
    assert other not in (None, first)
    assert start_program_server(missing) is None
    assert start_program_server(trial.model_copy(update={"preload": ()})) is None
    (own, _) = program_server._SERVERS.values()
    _kill(own)
    assert start_program_server(trial) not in (None, first)


@pytest.mark.slow
def test_an_agent_ends_also_while_a_module_is_still_being_loaded(
    trial: ProgramTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(600)\n", "utf-8")
    monkeypatch.setattr(program_server, "END_S", 0.5)
    path = {"PYTHONPATH": str(tmp_path)}
    start_program_server(trial.model_copy(update={"preload": ("endless",), "env": path}))
    (server,) = program_server._SERVERS.values()

    server.end()

    assert not server.is_alive()
