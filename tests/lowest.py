"""The lowest versions that pyproject.toml allows: `python tests/lowest.py` prints them as pins.

Lines for `pip install -c`, one for each direct dependency of the program and of its tests. torch
is left out: the builds of it that a package index has may be one, which constraints.txt names.
"""

import re
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_REQUIREMENT = re.compile(r"([\w.-]+)(\[[\w,-]+\])?(>=([\w.]+))?")


def lowest_versions() -> dict[str, str]:
    """Return the lowest version of each direct dependency but torch, by name.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = {}
    for line in (*project["dependencies"], *extras["postgres"], *extras["test"]):
        parts = _REQUIREMENT.match(line)
        if parts is None or (parts[3] is None and parts[1] != project["name"]):
            raise ValueError(f"pyproject.toml: {line}: has no lower bound. Write NAME>=VERSION.")
        if parts[1] not in ("torch", project["name"]):
            found[parts[1]] = parts[4]
    return found


if __name__ == "__main__":
    for name, version in lowest_versions().items():
        print(f"{name}=={version}")
