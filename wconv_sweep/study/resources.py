"""Finds study files and cluster profiles: shipped ones by name, the user's by path."""

import difflib
from importlib.resources import files
from pathlib import Path

from wconv_sweep.errors import ConfigurationError


def shipped(package: str, folder_name: str = "") -> dict[str, Path]:
    """Return the YAML files of a data package, or of a folder in it, by name."""
    return files_in(Path(str(files(package))) / folder_name)


def files_in(folder: Path) -> dict[str, Path]:
    """Return the YAML files of a folder by name; none if it does not exist."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def schema_file(package: str) -> Path:
    """Return the JSON schema that a data package has for editors."""
    (path,) = Path(str(files(package))).glob("*.schema.json")
    return path


def schema_comment(package: str) -> str:
    """Return the comment with which editors find the schema of a file, by yaml-language-server."""
    return f"# yaml-language-server: $schema={schema_file(package).as_uri()}"


def find(package: str, what: str, wanted: str, own: Path | None = None) -> tuple[Path, str]:
    """Return the path of a file by name or by path, and how messages call it.

    Args:
        package: data package, `wconv_studies` or `wconv_slurm_templates`.
        what: the word for one of its files, "study" or "cluster".
        wanted: a name, or a path that ends in .yaml.
        own: folder of the user's files; their names go before those of shipped ones.

    Raises:
        ConfigurationError: there is no such name or file, or none that may be read.
    """
    if wanted.endswith((".yaml", ".yml")):
        try:
            path = Path(wanted).expanduser()
            there = path.is_file()
        except RuntimeError as error:
            raise ConfigurationError(
                f"--{what} {wanted}: there is no such user. Check the path."
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"--{what} {wanted}: cannot be read: {error.strerror}. Check the path."
            ) from error
        if not there:
            raise ConfigurationError(f"--{what} {wanted}: there is no such file. Check the path.")
        return path, wanted
    mine = files_in(own) if own else {}
    known = shipped(package) | mine
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
        place = f" or lies in {own}" if own else ""
        raise ConfigurationError(
            f"--{what} {wanted}: no {what} of this name is shipped{place}. {hint} "
            f"For a file of your own, give its path ending in .yaml."
        )
    return known[wanted], str(known[wanted]) if wanted in mine else f"{wanted}.yaml"
