"""Runs the tests on SLURM in several versions: `python -m tests.slurm.versions FOLDER test`.

With `record` it records instead what SLURM prints, for quick tests. Each version is that of a
release of Debian, whose packages are installed into a root folder of their own in FOLDER: 1 GB
and some minutes each; a root that is there is used again. What runs in it is in namespaces of its
own, with the Python and the packages of this process. The table in docs/slurm.md is what it
prints. Needs root and debootstrap.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

RELEASES = ("bookworm", "trixie", "forky")
"""Of Debian, by the version of SLURM that each has, the oldest first."""

_CHECKOUT = Path(__file__).parents[2]
_PACKAGES = (
    *("slurm-wlm", "slurmdbd", "munge", "mariadb-server-core", "iproute2", "util-linux"),
    # Nobody runs this Python; it brings the libraries that ours loads.
    *("python3", "git"),
)
_SCRIPTS = Path("/usr/share/debootstrap/scripts")
_MIRROR = ("apt-get", "indextargets", "--format=$(REPO_URI)", "Created-By: Packages")
_RESULTS = "results.xml"
_NOT_PASSED = {"failure": "failed", "error": "error", "skipped": "skipped"}
"""How a test ended, by pytest's name of it in its JUnit file."""
# Arguments: the root, its folder for temporary files, what is shown in it at the same place, "--"
# and a command. Nothing of it is seen outside, or stays.
_ENTER = """\
root=$0
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind "$1" "$root/tmp"
shift
until [ "$1" = -- ]; do
  if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root${1%/*}"; touch "$root$1"; fi
  mount --bind "$1" "$root$1"
  shift
done
shift
exec chroot "$root" env "$@"
"""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# SLURM finds no host name where all network addresses are loopback addresses.
_NETWORK = """\
# Two runs at once would take the same names.
echo 127.0.0.1 localhost > "$1/hosts"
mount --bind "$1/hosts" "$0/etc/hosts"
ip link set lo up
ip address add 198.18.77.1/32 dev lo
hostname slurm-versions
"""


def make_root(folder: Path, release: str) -> Path:
    """Return the root folder of a release, made if it is not there.

    Raises:
        subprocess.CalledProcessError: debootstrap or apt-get failed; `RELEASE.log` says why.
    """
    root, part = folder / release, folder / f"{release}.part"
    if root.exists():
        return root
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    script = _SCRIPTS / release
    with (folder / f"{release}.log").open("w") as log:
        subprocess.run(
            [
                *("debootstrap", "--variant=minbase", release, part, _mirror()),
                # It knows no release that is younger than itself.
                script if script.exists() else _SCRIPTS / "sid",
            ],
            check=True,
            stdout=log,
            stderr=log,
        )
        # No service is started: the tests run daemons of their own.
        policy = part / "usr" / "sbin" / "policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n", "utf-8")
        policy.chmod(0o755)
        shutil.copy("/etc/resolv.conf", part / "etc")
        # A mirror may lag behind a release that is not out yet.
        may_be_old = "--option=Acquire::Check-Valid-Until=false"
        apt = (_PATH, "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", may_be_old)
        for command in (("update",), ("install", "--no-install-recommends", *_PACKAGES)):
            subprocess.run(
                _inside(part, (*apt, *command), part / "tmp"), check=True, stdout=log, stderr=log
            )
    (part / "etc" / "hosts").touch()
    # Some programs of the tests run as nobody, and read this process's packages.
    (part / "root").chmod(0o755)
    return part.rename(root)


def version(root: Path) -> str:
    """Return the version of SLURM in a root, as 22.05.8."""
    command = ("chroot", root, "slurmctld", "-V")
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.split()[-1]


def run_tests(folder: Path, release: str) -> dict[str, Counter[str]]:
    """Run tests/slurm in a root and return how many tests of each file ended how.

    What pytest prints goes to `RELEASE.tests.log`.
    """
    with (
        tempfile.TemporaryDirectory(prefix=f"{release}-", dir=folder) as scratch,
        (folder / f"{release}.tests.log").open("w") as log,
    ):
        command = _on_network(
            folder / release,
            *("pytest", "tests/slurm", "-n", "4", "-p", "no:cacheprovider", "--dist", "loadscope"),
            *("--no-loadscope-reorder", f"--junitxml=/tmp/{_RESULTS}"),
            temporary=scratch,
        )
        # Its results tell more than its exit status.
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        results = Path(scratch) / _RESULTS
        if not results.exists():
            raise SystemExit(f"{log.name} says why no test was run")
        return counted(results.read_text("utf-8"))


def record(folder: Path, release: str) -> None:
    """Record in a root what the quick tests replay; see tests/slurm/record.py."""
    with tempfile.TemporaryDirectory(prefix=f"{release}-", dir=folder) as scratch:
        command = _on_network(folder / release, "tests.slurm.record", temporary=scratch)
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def python_parts() -> list[Path]:
    """Return the folders and files outside the checkout that this Python is loaded from."""
    base = Path(sys.base_prefix)
    parts = [base]
    if base == Path("/usr"):
        # The root has a /usr of its own.
        parts = [base / "bin" / "python3", Path(sysconfig.get_path("stdlib"))]
    folders = dict.fromkeys(Path(name) for name in (sys.prefix, *sys.path) if name)
    for folder in folders:
        if folder.is_dir() and not any(map(folder.is_relative_to, (_CHECKOUT, *parts))):
            parts.append(folder)
    return parts


def counted(results: str) -> dict[str, Counter[str]]:
    """Return how many tests of each file ended how, from pytest's JUnit file."""
    found: dict[str, Counter[str]] = {}
    for case in ElementTree.fromstring(results).iter("testcase"):
        file = case.attrib["classname"].split(".")[2]
        tags = (child.tag for child in case)
        word = next((_NOT_PASSED[tag] for tag in tags if tag in _NOT_PASSED), "passed")
        found.setdefault(file, Counter())[word] += 1
    return found


def table(found: Mapping[str, Mapping[str, Counter[str]]], today: date) -> str:
    """Return the Markdown table of the tests' ends, a row for each file.

    Args:
        found: for each version of SLURM, for each file, how many tests ended how.
        today: when they were run.
    """
    files = sorted({file for counts in found.values() for file in counts})
    rows = [
        (f"tests, run on {today}", *(f"SLURM {name}" for name in found)),
        ("---",) * (1 + len(found)),
        *((f"`{file}`", *(_cell(found[name].get(file)) for name in found)) for file in files),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(counts: Counter[str] | None) -> str:
    words = ("passed", *_NOT_PASSED.values())
    shown = (f"{counts[word]} {word}" for word in words if counts and counts[word])
    return ", ".join(shown) or "not run"


def _mirror() -> str:
    """Return where apt gets this machine's packages of Debian."""
    command = (*_MIRROR, "Label: Debian")
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.split()[0]


def _history() -> Path:
    """Return the folder of the repository, which a worktree does not have itself."""
    command = ("git", "rev-parse", "--path-format=absolute", "--git-common-dir")
    said = subprocess.run(command, check=True, cwd=_CHECKOUT, capture_output=True, text=True)
    return Path(said.stdout.strip())


def _on_network(root: Path, module: str, *arguments: str, temporary: str) -> list[str | Path]:
    """Return the command line that runs a module of ours in a root, on a network of its own."""
    Path(temporary).chmod(0o1777)
    command = (
        *("--ignore-environment", f"--chdir={_CHECKOUT}", _PATH, "HOME=/root", "LANG=C.UTF-8"),
        *("OMP_NUM_THREADS=1", sys.executable, "-m", module, *arguments),
    )
    spaces = ("--net", "--uts")
    shown = (_CHECKOUT, _history(), *python_parts())
    return _inside(root, command, temporary, shown, spaces, _NETWORK)


def _inside(
    root: Path,
    command: Sequence[str | Path],
    temporary: str | Path,
    shown: Iterable[Path] = (),
    spaces: Iterable[str] = (),
    first: str = "",
) -> list[str | Path]:
    """Return the command line that runs a command in a root.

    Args:
        root: made by debootstrap.
        command: after options and variables for env.
        temporary: folder that is /tmp.
        shown: folders and files that it has at the same place.
        spaces: of namespaces beside those of mounts and processes.
        first: lines of shell that are run before.
    """
    own = ("--mount", "--propagation=private", "--pid", "--fork", "--kill-child", *spaces)
    script = f"set -eu\n{first}{_ENTER}"
    return ["unshare", *own, "sh", "-c", script, root, temporary, *shown, "--", *command]


def main(folder: Path, verb: str) -> int:
    """Make the roots that are missing, and test or record in each."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for release in RELEASES:
        try:
            names[release] = version(make_root(folder, release))
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"{folder}/{release}.log says why this failed: {error}") from error
    if verb == "record":
        for release in names:
            record(folder, release)
        return 0
    found = {}
    for release, name in names.items():
        print(f"SLURM {name} of Debian {release}: {folder}/{release}.tests.log", flush=True)
        found[name] = run_tests(folder, release)
    print(table(found, date.today()))
    ends = sum((counts for files in found.values() for counts in files.values()), Counter())
    return int(any(ends[word] for word in _NOT_PASSED.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2]))
