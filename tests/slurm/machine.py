"""What a test cluster needs of the machine it runs on, and the little that it changes there."""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.slurm.site import CONTROLLER, NETWORK, PORTS, Site

PROGRAMS = {
    "munged": "munge",
    "mariadbd": "mariadb-server-core",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "sacct": "slurm-wlm",
}
"""The programs of a cluster, with their Debian packages."""

# slurmdbd sends header and body of a message one by one, and each waits 40 ms for the answer of
# the other side, unless the route says that it comes at once: sacct takes 14 ms instead of 100.
# The route of 127.0.0.1 itself cannot be changed.
_ROUTE = (
    f"local {NETWORK}.0/24 dev lo table local proto kernel scope host src {NETWORK}.1 quickack 1"
).split()
_HOSTS = Path("/etc/hosts")


def missing() -> str:
    """Return why no cluster can run on this machine; empty if one can."""
    if os.geteuid() != 0:
        return "SLURM's daemons run as root, and these tests do not"
    packages = sorted({name for program, name in PROGRAMS.items() if find(program) is None})
    if packages:
        return (
            f"the Debian packages {' '.join(packages)} are missing: apt-get install "
            f"--no-install-recommends {' '.join(packages)}"
        )
    if not _resolves():
        return (
            "SLURM finds no host name where all network addresses are loopback addresses: "
            "ip address add 198.18.77.1/32 dev lo"
        )
    if not _may_make_devices() and not _terminals(4):
        return "this container may neither make device files (CAP_MKNOD) nor has /dev/tty0"
    return ""


def find(program: str) -> str | None:
    """Return the path of a program; the daemons' folder is not on every PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


@cache
def may_name_hosts() -> bool:
    """Say whether a process may get a host name of its own, which takes CAP_SYS_ADMIN."""
    return subprocess.run(["unshare", "--uts", "true"], capture_output=True).returncode == 0


def make_gpus(folder: Path, number: int) -> str:
    """Make the files of as many GPUs and return their names in SLURM's notation.

    slurmd takes character devices alone: it counts the GPUs of ordinary files, but leaves
    CUDA_VISIBLE_DEVICES unset.
    """
    last = f"[0-{number - 1}]"
    if not _may_make_devices():
        return f"/dev/tty{last}"
    for index in range(number):
        os.mknod(folder / f"gpu{index}", 0o020666, os.makedev(1, 3))  # as /dev/null
    return f"{folder}/gpu{last}"


@contextmanager
def ports() -> Iterator[int]:
    """Give the first of `PORTS` free TCP ports, which no other test cluster takes meanwhile."""
    for base in range(17000, 29000, PORTS):  # below the ephemeral ports
        with socket.socket() as last:
            # Held, as a sign for other clusters; the others must only be free.
            if not _listen(last, base + PORTS - 1):
                continue
            if all(_is_free(port) for port in range(base, base + PORTS - 1)):
                yield base
                return
    raise AssertionError("no free TCP ports for a SLURM cluster between 17000 and 29000")


def listens(address: str, port: int) -> bool:
    """Say whether a daemon takes connections."""
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


@contextmanager
def names_and_routes(site: Site) -> Iterator[None]:
    """Let this machine know the nodes by name, and talk to them fast."""
    begin, end = _marks(site.base_port)
    lines = [begin, *(f"{site.address(node)} {node}" for node in site.all_nodes), end]
    _change_hosts(lambda hosts: [*_without(site.base_port, hosts), *lines])
    # Also used by other clusters, so it stays; needs CAP_NET_ADMIN, and all works without it.
    _route("replace")
    try:
        yield
    finally:
        forget_names(site.base_port)


def forget_names(base_port: int) -> None:
    """Undo `names_and_routes` for the cluster with this first port, if there is anything left."""
    # Looked at under the lock: another cluster may have come meanwhile.
    _change_hosts(lambda hosts: _without(base_port, hosts), then=_remove_last_route)


def _marks(base_port: int) -> tuple[str, str]:
    return f"# test cluster {base_port} begin", f"# test cluster {base_port} end"


def _without(base_port: int, hosts: list[str]) -> list[str]:
    begin, end = _marks(base_port)
    if begin not in hosts:
        return hosts
    return hosts[: hosts.index(begin)] + hosts[hosts.index(end) + 1 :]


def _change_hosts(
    change: Callable[[list[str]], list[str]],
    then: Callable[[list[str]], None] = lambda lines: None,
) -> None:
    with _HOSTS.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = change(file.read().splitlines())
        # In place: in a container the file is mounted and cannot be replaced.
        file.seek(0)
        file.write("".join(f"{line}\n" for line in lines))
        file.truncate()
        file.flush()
        then(lines)


def _remove_last_route(hosts: list[str]) -> None:
    if not any(line.startswith(f"{NETWORK}.") for line in hosts):
        _route("delete")


def _route(verb: str) -> None:
    program = find("ip")
    if program is not None:
        subprocess.run([program, "route", verb, *_ROUTE], capture_output=True)


def _resolves() -> bool:
    # As SLURM does it.
    try:
        return bool(socket.getaddrinfo(CONTROLLER, 80, flags=socket.AI_ADDRCONFIG))
    except socket.gaierror:
        return False


@cache
def _may_make_devices() -> bool:
    path = Path(f"/tmp/wconv-slurm-device-{os.getpid()}")
    try:
        os.mknod(path, 0o020666, os.makedev(1, 3))
    except OSError:
        return False
    path.unlink()
    return True


def _terminals(number: int) -> bool:
    return all(Path(f"/dev/tty{index}").is_char_device() for index in range(number))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        return _bind(listener, port)


def _listen(listener: socket.socket, port: int) -> bool:
    # Two that have bound a port at the same moment may both, and only one of them may listen.
    if not _bind(listener, port):
        return False
    try:
        listener.listen()
    except OSError:
        return False
    return True


def _bind(listener: socket.socket, port: int) -> bool:
    # As the daemons do it: a port that was used a moment ago is free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", port))
    except OSError:
        return False
    return True
