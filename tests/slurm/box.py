"""A real SLURM cluster on this machine: its daemons, and what can happen to them."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.slurm import database, machine
from tests.slurm.keeper import kept
from tests.slurm.processes import Daemon, JobProcess, job_processes, kill, wait_until
from tests.slurm.site import (
    Site,
    accounting_commands,
    late_accounting_commands,
    write_configuration,
)

_QUEUE_FORMAT = "%i|%A|%j|%T|%r|%N|%q"
_OF_ANOTHER_SITE = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SCONTROL_", "SINFO_", "SQUEUE_")


@dataclass(frozen=True)
class Queued:
    """A line of squeue."""

    id: str
    """As SLURM shows it, `1234_5` for an element of an array."""
    raw_id: str
    """The number that the element has of its own."""
    name: str
    state: str
    reason: str
    node: str
    qos: str


class SlurmBox:
    """Two nodes of four pretended GPUs, one without, a controller and accounting.

    The account `wconv` of the user root may use these QOS:

    * `normal`
    * `debug`: 30 minutes, one job and four GPUs per user; sbatch takes what is beyond
    * `urgent`: takes nodes from the following two
    * `patient`: its jobs get USR2 and 20 s before they are requeued for an urgent one
    * `hasty`: its jobs get no time
    * `few`: two jobs per user, also waiting ones, of an hour; sbatch refuses what is beyond

    Partitions: `serial`, the default, has no GPU; `gpu` has two nodes, `gpu_short` one of them for
    an hour.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.environment = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(_OF_ANOTHER_SITE)
        } | {"SLURM_CONF": str(site.slurm_conf)}
        """What a user's shell on the cluster would have."""
        self._daemons: dict[str, Daemon] = {}

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the two nodes with GPUs."""
        return self.site.nodes

    # Verbs of a user.

    def run(self, *command: str, check: bool = True, within_s: float = 60.0) -> str:
        """Run a command of SLURM and return what it printed, also its errors if it may fail."""
        result = subprocess.run(
            command,
            env=self.environment,
            cwd=self.site.folder,
            capture_output=True,
            text=True,
            timeout=within_s,
        )
        assert not check or result.returncode == 0, (command, result.stdout, result.stderr)
        return result.stdout if check else result.stdout + result.stderr

    def submit(self, *options: str, script: str) -> str:
        """Submit a batch job of shell lines to the GPUs' partition and return its number."""
        log = self.site.folder / "jobs" / "%A.%a.log"
        where = ("--partition=gpu", f"--output={log}", "--open-mode=append", *options)
        return self.run("sbatch", "--parsable", *where, f"--wrap={script}").strip()

    def output(self, job: str) -> str:
        """Return what a job of `submit` has printed until now, over all its starts."""
        logs = sorted((self.site.folder / "jobs").glob(f"{job}.*.log"))
        return "".join(log.read_text("utf-8") for log in logs)

    def queue(self) -> list[Queued]:
        """Return the jobs that have not ended, each element of an array by itself."""
        lines = self.run("squeue", "--noheader", "--array", f"--format={_QUEUE_FORMAT}")
        return [Queued(*line.split("|")) for line in lines.splitlines()]

    def states(self, job: str) -> list[str]:
        """Return how each start of a job ended, oldest first, as accounting knows it."""
        options = ("--noheader", "--parsable2", "--allocations", "--duplicates")
        return self.run("sacct", *options, f"--jobs={job}", "--format=State").splitlines()

    # Verbs of fate.

    def kill(self, daemon: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End a daemon and leave what it has started alone.

        Args:
            daemon: `slurmctld`, `slurmdbd`, `mariadbd`, `munged`, or the name of a node.
            how: the signal, SIGTERM for an orderly end.
        """
        self._daemons.pop(daemon).end(how)

    def start(self, daemon: str) -> None:
        """Start a daemon, again with what it remembers, and wait until it answers."""
        site, host = self.site, ""
        if daemon in site.all_nodes:
            program, options = "slurmd", ["-D", "-N", daemon, "-f", str(site.slurm_conf)]
            host = daemon if site.named_hosts else ""
        elif daemon == "munged":
            program, options = "munged", self._munge_options()
        elif daemon == "slurmctld":
            # Killed before it has saved its state once, SLURM 26.05 would not start without -i.
            program, options = daemon, ["-D", "-i"]
        else:
            program, options = daemon, ["-D"]
        command = [machine.find(program) or program, *options]
        if daemon == "mariadbd":
            command = database.command(site)
        log = site.folder / "log" / f"{daemon}.out"
        self._daemons[daemon] = Daemon(command, self.environment, log, host)
        self._await(daemon)

    def start_all(self) -> None:
        """Start the daemons that do not run."""
        for daemon in self._order():
            if not self.runs(daemon):
                self.start(daemon)

    def power_off(self, node: str, *, noticed: bool = False) -> None:
        """Cut the power of a node: slurmd and every process of its jobs are gone at once.

        Args:
            node: its name.
            noticed: the controller is told, and does not have to wait until the node has been
                silent for `SlurmdTimeout`, 20 s.
        """
        self.kill(node)
        self._kill_jobs(node)
        if noticed:
            self.run("scontrol", "update", f"node={node}", "state=down", "reason=power")

    def runs(self, daemon: str) -> bool:
        """Say whether a daemon, by the names of `kill`, runs."""
        return daemon in self._daemons and self._daemons[daemon].runs

    def job_processes(self, node: str | None = None) -> list[JobProcess]:
        """Return what jobs have left running, SLURM's own step daemons included."""
        found = job_processes(self.site)
        return [process for process in found if node is None or process.node == node]

    def reset(self) -> None:
        """Bring everything back: daemons up, no job, no process of one, all nodes idle."""
        self.start_all()
        self.run("scancel", "--user=root")

        def no_job_is_left() -> bool:
            # SLURM would wait for `KillWait`, and jobs for their checkpoints.
            kill(found for found in self.job_processes() if not found.is_step)
            return not self.queue()

        wait_until(no_job_is_left, "all jobs are cancelled")
        self._kill_jobs()  # those of a node that SLURM had given up
        wait_until(self._resumed, f"all nodes are idle\n{self.log()}")

    def log(self) -> str:
        """Return the last lines of every log, for messages of tests."""
        paths = sorted((self.site.folder / "log").iterdir())
        tails = {
            path.name: path.read_text("utf-8", "replace").splitlines()[-15:] for path in paths
        }
        return "\n".join(f"--- {name}\n" + "\n".join(tail) for name, tail in tails.items() if tail)

    # The cluster as a whole.

    def up(self) -> None:
        """Start all daemons; half a second to two, as measured on two cores."""
        folder = self.site.folder
        for name in ("etc", "run/munge", "log", "controller", "devices", "jobs"):
            (folder / name).mkdir(parents=True)
        for node in self.site.all_nodes:
            (folder / "spool" / node).mkdir(parents=True)
        write_configuration(self.site, machine.make_gpus(folder / "devices", self.site.gpus))
        key = folder / "etc" / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        database.make(self.site)
        for daemon in ("munged", "mariadbd", "slurmdbd"):
            self.start(daemon)
        associations = ("associations", "format=account,user")
        self._sacctmgr(accounting_commands(self.site), f"{self.site.account}|root", *associations)
        self.start_all()
        wait_until(self._idle, f"all nodes are idle\n{self.log()}")
        limits = ("qos", "format=name,maxtrespu")
        self._sacctmgr(late_accounting_commands(), "debug|gres/gpu=4", *limits)

    def down(self) -> None:
        """End all daemons and every process of a job."""
        # First the controller, so that nothing starts, and slurmd last, which waits for its jobs.
        if self.runs("slurmctld"):
            self.kill("slurmctld", signal.SIGTERM)
        self._kill_jobs()
        for daemon in reversed(self._order()):
            if self.runs(daemon):
                self.kill(daemon, signal.SIGTERM)
        self._kill_jobs()  # started since

    def _order(self) -> tuple[str, ...]:
        return ("munged", "mariadbd", "slurmdbd", "slurmctld", *self.site.all_nodes)

    def _munge_options(self) -> list[str]:
        folder, socket = self.site.folder, self.site.munge_socket
        return [
            *("--foreground", "--force", "--num-threads=4", f"--socket={socket}"),
            *(f"--key-file={folder}/etc/munge.key", f"--log-file={folder}/log/munged.log"),
            f"--pid-file={folder}/run/munge/munged.pid",
            f"--seed-file={folder}/run/munge/seed",
        ]

    def _sacctmgr(self, commands: str, expected: str, *shown: str) -> None:
        # Its exit status says nothing.
        result = subprocess.run(
            ["sacctmgr", "--immediate", "--quiet"],
            env=self.environment,
            input=commands,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        now = self.run("sacctmgr", "--noheader", "--parsable2", "show", *shown)
        assert expected in now, result.stdout

    def _await(self, daemon: str) -> None:
        answers: dict[str, Callable[[], object]] = {
            "munged": self.site.munge_socket.exists,
            "mariadbd": lambda: self._listens(daemon),
            "slurmdbd": lambda: self._succeeds("sacctmgr", "show", "cluster"),
            "slurmctld": lambda: self._succeeds("scontrol", "ping"),
        }
        answer = answers.get(daemon, lambda: self._listens(daemon))

        def came_up() -> object:
            assert self.runs(daemon), f"{daemon} has ended\n{self.log()}"
            return answer()

        wait_until(came_up, f"{daemon} answers\n{self.log()}")

    def _listens(self, daemon: str) -> bool:
        return machine.listens(self.site.address(daemon), self.site.port(daemon))

    def _succeeds(self, *command: str) -> bool:
        result = subprocess.run(command, env=self.environment, capture_output=True)
        return result.returncode == 0

    def _idle(self) -> bool:
        states = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return {tuple(line.split()) for line in states} == {
            (node, "idle") for node in self.site.all_nodes
        }

    def _resumed(self) -> bool:
        if self._idle():
            return True
        # Refused because of the nodes that need it not, but done for the others.
        self.run("scontrol", "update", "node=ALL", "state=resume", check=False)
        return self._idle()

    def _kill_jobs(self, node: str | None = None) -> None:
        def nothing_left() -> bool:
            left = self.job_processes(node)
            kill(left)
            return not left

        wait_until(nothing_left, "the processes of all jobs are gone")


@contextmanager
def slurm_box() -> Iterator[SlurmBox]:
    """Give a cluster that is up, and leave nothing of it behind.

    The caller asks `machine.missing` first.
    """
    with ExitStack() as stack:
        base_port = stack.enter_context(machine.ports())
        # Not pytest's folder: the path of a Unix socket is short.
        folder = Path(tempfile.mkdtemp(prefix="wconv-slurm-"))
        site = Site(folder=folder, base_port=base_port, named_hosts=machine.may_name_hosts())
        stack.enter_context(kept(site))
        stack.callback(shutil.rmtree, folder)
        stack.enter_context(machine.names_and_routes(site))
        box = SlurmBox(site)
        stack.callback(box.down)
        box.up()
        yield box
