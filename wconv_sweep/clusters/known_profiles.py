"""The profiles that `--cluster` knows by name: shipped ones, and those in the user's folder."""

from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.clusters.profile import (
    PACKAGE,
    ClusterProfile,
    check_profile,
    own_folder,
)
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study import resources
from wconv_sweep.yaml_files import read_document


@dataclass(frozen=True, kw_only=True)
class KnownProfile:
    """A profile and its file."""

    name: str
    """Value of `--cluster`."""
    path: Path
    profile: ClusterProfile
    own: bool
    """Whether it is the user's, otherwise it ships."""
    hides_shipped: bool
    """Whether it hides a shipped profile of the same name."""


def known_profiles() -> tuple[list[KnownProfile], list[str]]:
    """Return all profiles that have a name, and the problems of those that cannot be read."""
    shipped, own = resources.shipped(PACKAGE), resources.files_in(own_folder())
    known: list[KnownProfile] = []
    problems: list[str] = []
    for name in sorted(shipped.keys() | own.keys()):
        try:
            known.append(find_profile(name))
        except ConfigurationError as error:
            problems += error.problems
    return known, problems


def find_profile(wanted: str) -> KnownProfile:
    """Return a profile by name or by the path of a file, with its file.

    Raises:
        ConfigurationError: it does not exist or is wrong; every problem is named.
    """
    path, name = resources.find(PACKAGE, "cluster", wanted, own_folder())
    shipped = resources.shipped(PACKAGE)
    return KnownProfile(
        name=wanted,
        path=path,
        profile=check_profile(read_document(path, name)),
        own=path not in shipped.values(),
        hides_shipped=wanted in shipped and path != shipped[wanted],
    )
