"""Finds study files and cluster profiles: shipped ones by name, the user's by path."""

import difflib
from importlib.resources import files
from pathlib import Path

from wconv_sweep.errors import ConfigurationError


def shipped(package: str, folder_name: str = "") -> dict[str, Path]:
    """Return the YAML files of a data package, or of a folder in it, by name."""
    folder = Path(str(files(package))) / folder_name
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(package: str, what: str, wanted: str) -> tuple[Path, str]:
    """Return the path of a shipped file by name, or of a user's file, and how messages call it.

    Args:
        package: data package, `wconv_studies` or `wconv_slurm_templates`.
        what: the word for one of its files, "study" or "cluster".
        wanted: a shipped name, or a path that ends in .yaml.

    Raises:
        ConfigurationError: there is no such name or file, or none that may be read.
    """
    if wanted.endswith((".yaml", ".yml")):
        try:
            path = Path(wanted).expanduser()
            there = path.is_file()
        except RuntimeError as error:
            raise ConfigurationError(f"--{what} {wanted}: there is no such user") from error
        except OSError as error:
            raise ConfigurationError(
                f"--{what} {wanted}: cannot be read: {error.strerror}"
            ) from error
        if not there:
            raise ConfigurationError(f"--{what} {wanted}: there is no such file")
        return path, wanted
    known = shipped(package)
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
        raise ConfigurationError(
            f"--{what} {wanted}: no {what} of this name is shipped. {hint} "
            f"For a file of your own, give its path ending in .yaml."
        )
    return known[wanted], f"{wanted}.yaml"
