"""Checks folders: whether they are writable, who sees them, and their free space."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.clusters.lint import folder_advice
from wconv_sweep.clusters.profile import ClusterProfile, SlurmProfile
from wconv_sweep.doctor.checks import Check, right, skipped, warning, wrong
from wconv_sweep.storage.filesystem import network_filesystem
from wconv_sweep.study.config import StudyConfig

GIB = 2**30
_FEWEST_FILES = 1000
_DATA_FOLDERS = ("folder", "cache_folder")


@dataclass(frozen=True)
class Room:
    """A folder and its required space."""

    name: str
    folder: Path
    least_bytes: float
    """Below it a study cannot run."""
    wanted_bytes: float
    """Below it a study may end too early."""


def run_folder_checks(runs: Path, profile: ClusterProfile, *, job: bool) -> Iterator[Check]:
    """Check the folder of all runs.

    Args:
        runs: the folder, which need not exist.
        profile: of the cluster.
        job: whether a test job checks that the nodes see the folder.
    """
    yield _writable(runs.absolute())
    if not isinstance(profile, SlurmProfile):
        return
    yield _shared(runs, job=job)
    advice = folder_advice(profile, runs)
    if advice is not None:
        yield warning(f"run folder {runs}: is not kept by the site", advice)


def space_checks(rooms: Sequence[Room]) -> Iterator[Check]:
    """Check the space of folders; quotas of a site do not show there."""
    for room in rooms:
        try:
            found = os.statvfs(_nearest(room.folder))
        except OSError as error:
            yield wrong(f"space in {room.name}", f"{room.folder}: {error.strerror}.")
            continue
        free = found.f_bavail * found.f_frsize
        what = f"space in {room.name} {room.folder}: {free / GIB:.1f} GiB free"
        remedy = "Free disk space, or choose another folder."
        if free < room.least_bytes:
            yield wrong(what, remedy)
        elif found.f_files > 0 and found.f_favail < _FEWEST_FILES:
            yield wrong(f"{what}, but only for {found.f_favail} files", remedy)
        elif free < room.wanted_bytes:
            yield warning(what, remedy)
        else:
            yield right(what)


def rooms_of(runs: Path, config: StudyConfig | None) -> list[Room]:
    """Return the folders that a study fills: runs, its data if it has a folder, and /tmp."""
    rooms = [Room("the run folder", runs, 0.5 * GIB, 10 * GIB)]
    options = config.data.options if config is not None else {}
    rooms += [
        Room(f"data.options.{option}", Path(str(options[option])).expanduser(), 0, GIB)
        for option in _DATA_FOLDERS
        if option in options and "$" not in str(options[option])
    ]
    return [*rooms, Room("temporary files", Path(tempfile.gettempdir()), 0.1 * GIB, GIB)]


def _writable(runs: Path) -> Check:
    nearest = _nearest(runs)
    what = f"run folder {runs}"
    try:
        # Tried, not asked: quotas, read-only mounts and access lists show in no mode.
        with tempfile.NamedTemporaryFile(dir=nearest, prefix=".wconv-doctor-") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"{nearest} cannot be written to ({error.strerror})"
        return wrong(f"{what}: not usable", f"{reason}. Choose another folder with --runs.")
    return right(f"{what}: {'can be written to' if nearest == runs else 'can be created'}")


def _shared(runs: Path, *, job: bool) -> Check:
    kind = network_filesystem(runs)
    if kind is not None:
        return right(f"run folder: on {kind}, which nodes may see as well")
    if job:
        return skipped("run folder: on a disk of this machine", "the test job tries it")
    return warning(
        "run folder: apparently on a disk of this machine",
        "Nodes may not see it. Test it with --job, or choose a shared folder with --runs.",
    )


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))
