"""Daemons of a test cluster, and the processes of its jobs as the kernel shows them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.site import Site

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.25


class Daemon:
    """A program in the foreground, in a session of its own; it dies with the tests."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, host: str = ""
    ) -> None:
        self.log = log
        # A host name of its own is given to it in a UTS namespace.
        named = (
            ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host] if host else []
        )
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *named, *command],
                env=environment,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def end(self, how: signal.Signals, within_s: float = 10.0) -> None:
        """Send a signal and wait for the end; kill what does not obey."""
        self._process.send_signal(how)
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class JobProcess:
    """A process of a job, or the one of SLURM that looks after it."""

    pid: int
    name: str
    node: str
    """Name of the node that it belongs to."""
    command: str

    @property
    def is_step(self) -> bool:
        """It is SLURM's own and looks after a job step."""
        return _is_step(self.name)


def job_processes(site: Site) -> list[JobProcess]:
    """Return every process of the jobs of a cluster, on all its nodes.

    They are SLURM's step daemons, the processes with a job's variables, and what descends from
    both; the ones that left their session and their parent are found by their variables. A step
    daemon is found by the log that it has open: since SLURM 24.11 at the latest, its variables
    are overwritten by what ps shows of it.
    """
    ours = f"SLURM_CONF={site.slurm_conf}"
    logs = {str(site.slurmd_log(node)): node for node in site.all_nodes}
    seen = {pid: found for pid in _pids() if (found := _look_at(pid)) is not None}
    nodes: dict[int, str] = {}

    def node_of(pid: int) -> str:
        """Name the node of a process of a job; empty for other processes."""
        if pid not in nodes:
            nodes[pid] = ""
            found = seen.get(pid)
            if found is not None:
                own = _node_by_log(pid, logs) if found.is_step else found.node(ours)
                nodes[pid] = own or node_of(found.parent)
        return nodes[pid]

    return [
        JobProcess(pid, found.name, node, found.command)
        for pid, found in sorted(seen.items())
        if (node := node_of(pid))
    ]


def kill(processes: Iterable[JobProcess]) -> None:
    """Kill processes, some of which may have ended."""
    _send((process.pid for process in processes), signal.SIGKILL)


def ranks_among(processes: Iterable[JobProcess]) -> list[int]:
    """Return the ranks: children of a fork server, whose command line they have."""
    family = {found.pid for found in processes if "multiprocessing.forkserver" in found.command}
    return [pid for pid in sorted(family) if _parent(pid) in family]


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """Let time stand still for processes, some of which may have ended."""
    held = list(pids)
    _send(held, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(held, signal.SIGCONT)


def wait_until(condition: Callable[[], object], what: str, within_s: float = 180.0) -> None:
    """Return as soon as a condition holds; fail after the deadline.

    Args:
        condition: looked at again and again.
        what: is waited for, in words.
        within_s: deadline, seconds.
    """
    begun = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun
        assert waited_s < within_s, f"not within {within_s:g} s: {what}"
        # Several tests wait at a time, and most conditions ask a program.
        time.sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S + waited_s / 20))


@dataclass(frozen=True)
class _Seen:
    parent: int
    name: str
    environment: frozenset[str]
    command: str

    @property
    def is_step(self) -> bool:
        return _is_step(self.name)

    def node(self, ours: str) -> str:
        if ours not in self.environment:
            return ""
        return self._variable("SLURM_JOB_ID") and self._variable("SLURMD_NODENAME")

    def _variable(self, name: str) -> str:
        found = (text for text in self.environment if text.startswith(f"{name}="))
        return next(found, "").partition("=")[2]


def _is_step(name: str) -> bool:
    return name.startswith("slurmstepd")


def _node_by_log(pid: int, logs: Mapping[str, str]) -> str:
    with suppress(OSError):  # ended meanwhile
        opened = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
        return next((logs[path] for path in opened if path in logs), "")
    return ""


def _send(pids: Iterable[int], how: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, how)


def _parent(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except FileNotFoundError:
        return 0
    return int(status.rpartition(")")[2].split()[1])


def _pids() -> Iterable[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _look_at(pid: int) -> _Seen | None:
    folder = Path("/proc", str(pid))
    try:
        status = (folder / "stat").read_text("utf-8", "replace")
        environment = (folder / "environ").read_text("utf-8", "replace")
        command = (folder / "cmdline").read_text("utf-8", "replace")
    except OSError:
        return None  # ended, or a thread of the kernel
    name, _, rest = status[status.index("(") + 1 :].rpartition(")")
    state, parent = rest.split()[:2]
    if state in "ZX":
        return None
    return _Seen(
        int(parent), name, frozenset(environment.split("\0")), command.replace("\0", " ").strip()
    )
