"""A second cluster behind the slurmdbd of a test cluster, as where a login node serves several."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.slurm import machine
from tests.slurm.box import SlurmBox
from tests.slurm.keeper import kept
from tests.slurm.processes import wait_until
from tests.slurm.site import Site, accounting_commands, write_configuration


@dataclass(frozen=True, kw_only=True)
class SecondSite(Site):
    """A cluster with the accounting of another one, and its key."""

    first: Site

    @property
    def munge_socket(self) -> Path:
        return self.first.munge_socket

    def port(self, daemon: str) -> int:
        of_first = daemon in ("slurmdbd", "mariadbd")
        return self.first.port(daemon) if of_first else super().port(daemon)


class SecondBox(SlurmBox):
    """A controller and one node with GPUs, which takes no jobs yet."""

    def up(self) -> None:
        """Start the daemons."""
        folder, (node,) = self.site.folder, self.site.nodes
        for name in ("etc", "run", "log", "controller", "devices", "jobs", f"spool/{node}"):
            (folder / name).mkdir(parents=True)
        write_configuration(self.site, machine.make_gpus(folder / "devices", self.site.gpus))
        # Its QOS are those of the first cluster.
        commands = accounting_commands(self.site).splitlines()
        added = "\n".join(line for line in commands if not line.startswith(("add qos", "modify")))
        account, cluster = self.site.account, self.site.cluster
        associations = ("associations", f"cluster={cluster}", "format=account,user")
        self._sacctmgr(f"{added}\n", f"{account}|root", *associations)
        self.start_all()
        self.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        wait_until(self._is_known, f"accounting knows the controller\n{self.log()}")

    def _order(self) -> tuple[str, ...]:
        return ("slurmctld", *self.site.nodes)

    def _is_known(self) -> bool:
        """Return whether commands of the first cluster reach this one by its name."""
        return self._succeeds("squeue", f"--clusters={self.site.cluster}")


@contextmanager
def second_cluster(box: SlurmBox) -> Iterator[SecondBox]:
    """Give a second cluster beside one that is up, and leave nothing of it behind."""
    with ExitStack() as stack:
        base_port = stack.enter_context(machine.ports())
        folder = Path(tempfile.mkdtemp(prefix="wconv-slurm-"))
        site = SecondSite(
            folder=folder,
            base_port=base_port,
            named_hosts=box.site.named_hosts,
            gpu_nodes=1,
            cluster="farbox",
            first=box.site,
        )
        stack.enter_context(kept(site))
        stack.callback(shutil.rmtree, folder)
        stack.enter_context(machine.names_and_routes(site))
        second = SecondBox(site)
        stack.callback(second.down)
        second.up()
        yield second
