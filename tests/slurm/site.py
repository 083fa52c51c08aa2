"""The numbers of the test cluster, and the configuration files that SLURM reads them from."""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

NETWORK = "127.0.77"
"""Every daemon talks over addresses of this loopback network; see tests/slurm/machine.py."""
CONTROLLER = f"{NETWORK}.250"
_FIRST_NODE_PORT = 10


@dataclass(frozen=True, kw_only=True)
class Site:
    """One cluster: two nodes of four GPUs, and the default partition without GPUs."""

    folder: Path
    """Everything of the cluster lies here; short, as it holds Unix sockets."""
    base_port: int
    """The first of `PORTS` TCP ports of this machine."""
    named_hosts: bool
    """Each node has a host name of its own."""
    gpu_nodes: int = 2
    gpus: int = 4
    cpus: int = 32
    """CPUs of a node, as advertised; they run on those that this machine has."""
    mem_mb: int = 128_000
    """Memory of a node, as advertised, MB."""
    account: str = "wconv"
    cluster: str = "testbox"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes with GPUs."""
        return tuple(f"{self._prefix}{number}" for number in range(1, self.gpu_nodes + 1))

    @property
    def cpu_node(self) -> str:
        """Name of the node without GPUs."""
        return f"{self._prefix}{self.gpu_nodes + 1}"

    @property
    def all_nodes(self) -> tuple[str, ...]:
        return (*self.nodes, self.cpu_node)

    def address(self, daemon: str) -> str:
        """Return the address that a daemon, or the one of a node, listens on."""
        if daemon in self.all_nodes:
            return f"{NETWORK}.{self.all_nodes.index(daemon) + 1}"
        return CONTROLLER

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    def slurmd_log(self, node: str) -> Path:
        """Return the log of a node's slurmd, which its step daemons write to, too."""
        return self.folder / "log" / f"slurmd-{node}.log"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "run" / "munge" / "socket"

    def port(self, daemon: str) -> int:
        """Return the TCP port that a daemon listens on."""
        if daemon in self.all_nodes:
            return self.base_port + _FIRST_NODE_PORT + self.all_nodes.index(daemon)
        return self.base_port + ("slurmctld", "slurmdbd", "mariadbd").index(daemon)

    @property
    def _prefix(self) -> str:
        # Unlike the nodes of any other test cluster, for /etc/hosts.
        return f"box{self.base_port}n"


PORTS = 20
"""TCP ports that a cluster needs, one after the other."""


def write_configuration(site: Site, gpu_devices: str) -> None:
    """Write all configuration files.

    Args:
        site: numbers and names.
        gpu_devices: files of the GPUs of each node in SLURM's notation, as `/dev/tty[0-3]`; the
            trailing number becomes the index in CUDA_VISIBLE_DEVICES.
    """
    etc = site.slurm_conf.parent
    site.slurm_conf.write_text(_slurm_conf(site), "utf-8")
    names = ",".join(site.nodes)
    (etc / "gres.conf").write_text(
        f"AutoDetect=off\nNodeName={names} Name=gpu File={gpu_devices}\n", "utf-8"
    )
    (etc / "cgroup.conf").write_text("CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n", "utf-8")
    accounting = etc / "slurmdbd.conf"
    accounting.touch(mode=0o600)  # slurmdbd refuses one that others may read
    accounting.write_text(_slurmdbd_conf(site), "utf-8")


def accounting_commands(site: Site) -> str:
    """Return what sacctmgr reads to know the account of the tests and its kinds of jobs."""
    kinds = "debug,urgent,patient,hasty,few"
    return f"""\
add cluster {site.cluster}
add qos {kinds}
modify qos patient set PreemptMode=requeue GraceTime=20
modify qos hasty set PreemptMode=requeue GraceTime=0
modify qos urgent set Preempt=patient,hasty Priority=1000
modify qos few set MaxSubmitJobsPerUser=2 MaxWall=01:00:00 Flags=DenyOnLimit
add account {site.account} cluster={site.cluster} qos=normal,{kinds} defaultqos=normal
add user root account={site.account}
modify user root set defaultaccount={site.account}
"""


def late_accounting_commands() -> str:
    """Return what sacctmgr reads after the controller has told accounting what a GPU is."""
    return "modify qos debug set MaxWall=00:30:00 MaxJobsPerUser=1 MaxTRESPerUser=gres/gpu=4\n"


def host_name() -> str:
    return socket.gethostname().split(".")[0]


def _slurm_conf(site: Site) -> str:
    folder, munge = site.folder, site.munge_socket
    # From the clock: ids of jobs of one cluster after the other never repeat.
    first_job_id = int(time.time() / 10) % 60_000_000 + 1_000_000
    nodes = "\n".join(_node(site, node) for node in site.all_nodes)
    gpu_nodes = ",".join(site.nodes)
    defaults = f"State=UP DefaultTime=00:30:00 DefMemPerCPU={site.mem_mb // site.cpus}"
    return f"""\
ClusterName={site.cluster}
SlurmctldHost={host_name()}({CONTROLLER})
SlurmctldPort={site.port("slurmctld")}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job starts again after cred_expire seconds, 120 where it is not set.
AuthInfo=socket={munge},cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={site.slurmd_log("%n")}
SlurmctldDebug=verbose
SlurmdDebug=verbose

# One machine, no cgroups, no pinning, more CPUs and memory than there are.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
SlurmdParameters=config_overrides
SwitchType=switch/none
MailProg=/bin/true
MpiDefault=none
PropagateResourceLimits=NONE

SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=10000,batch_sched_delay=0,bf_interval=1,bf_continue
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PriorityType=priority/multifactor
PriorityWeightQOS=10000
PreemptType=preempt/qos
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
EnforcePartLimits=ALL
MaxArraySize=1001
MaxJobCount=5000
FirstJobId={first_job_id}

JobRequeue=1
MinJobAge=300
KillWait=5
SlurmdTimeout=20
SlurmctldTimeout=10
BatchStartTimeout=30
MessageTimeout=10
TCPTimeout=2
EioTimeout=10
InactiveLimit=0
WaitTime=0
CompleteWait=0
# 2 would take a node back into service while the old copy of a job still runs on it.
ReturnToService=1
TreeWidth=65533

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={CONTROLLER}
AccountingStoragePort={site.port("slurmdbd")}
# sacct and sacctmgr take the socket from here, not from AuthInfo.
AccountingStoragePass={munge}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu

{nodes}
PartitionName=serial Nodes={site.cpu_node} Default=YES MaxTime=04:00:00 {defaults}
PartitionName=gpu Nodes={gpu_nodes} MaxTime=24:00:00 {defaults}
PartitionName=gpu_short Nodes={site.nodes[0]} MaxTime=01:00:00 {defaults}
"""


def _node(site: Site, node: str) -> str:
    gres = f"Gres=gpu:{site.gpus} " if node in site.nodes else ""
    return (
        f"NodeName={node} NodeAddr={site.address(node)} "
        f"NodeHostname={node if site.named_hosts else host_name()} Port={site.port(node)} "
        f"CPUs={site.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={site.cpus} "
        f"ThreadsPerCore=1 RealMemory={site.mem_mb} {gres}State=UNKNOWN"
    )


def _slurmdbd_conf(site: Site) -> str:
    folder = site.folder
    return f"""\
AuthType=auth/munge
AuthInfo=socket={site.munge_socket}
DbdHost={host_name()}
DbdAddr={CONTROLLER}
DbdPort={site.port("slurmdbd")}
SlurmUser=root
DebugLevel=info
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost={CONTROLLER}
StoragePort={site.port("mariadbd")}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommitDelay=0
"""
