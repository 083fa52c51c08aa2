"""An environment with the packages that the program needs, borrowed from that of the tests."""

import re
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = "wconv-sweep"


def borrowing_environment(folder: Path) -> Path:
    """Make an environment in which pip finds what it would install; return its programs' folder.

    It has the packages that the project declares and those that they need: none that the tests
    alone bring, so what is not declared is missing. To install them once more takes a minute of
    CPU time. They are links in a folder beside the environment, which pip does not write to: what
    is missing, or has another version, is installed into the environment.
    """
    environment, packages = folder / "venv", folder / "packages"
    venv.create(environment, with_pip=True)
    packages.mkdir()
    for distribution in _needed_by(PROJECT):
        _link(distribution, packages)
    place = {"base": str(environment), "platbase": str(environment)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", place))
    (site_packages / "borrowed.pth").write_text(f"{packages}\n", "utf-8")
    return Path(sysconfig.get_path("scripts", "venv", place))


def _needed_by(project: str) -> list[metadata.Distribution]:
    """Return what a project needs without its extras, and what that needs."""
    wanted = [Requirement(project)]
    seen: set[tuple[str, str]] = set()
    needed: dict[str, metadata.Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        distribution = metadata.distribution(name)
        needed[name] = distribution
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                each = [Requirement(line) for line in distribution.requires or ()]
                wanted += [one for one in each if _applies(one, extra)]
    del needed[project]
    return list(needed.values())


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _link(distribution: metadata.Distribution, folder: Path) -> None:
    """Link what a distribution has installed into a folder, but for its programs."""
    installed = {path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}
    for name in installed:
        # Several distributions may have parts in one folder.
        if not (folder / name).exists():
            (folder / name).symlink_to(Path(str(distribution.locate_file(name))))
