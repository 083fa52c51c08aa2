"""What users install is what was written: packages and data files.

That what is installed runs a study is seen in test_followed_pages.py.
"""

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from tests.lowest import lowest_versions
from tests.pages import ROOT


def test_every_package_folder_is_listed_in_pyproject() -> None:
    """`find` cannot rename the data folders, so the list is explicit, and can be forgotten."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    sources: dict[str, str] = setuptools["package-dir"]

    def folder(package: str) -> Path:
        top, _, rest = package.partition(".")
        return ROOT.joinpath(sources[top], *rest.split("."))

    listed = {folder(package).resolve() for package in setuptools["packages"]}
    there = {
        path.parent.resolve()
        for top in ("wconv_sweep", "jobs", "kernels", "trial", "studies", "slurm_templates")
        for path in (ROOT / top).rglob("__init__.py")
    }

    assert listed == there


def test_the_versions_that_the_tests_run_with_are_not_below_the_lower_bounds() -> None:
    """`make test-lowest` reads these bounds, and `make test` installs the pinned versions."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.lower().split("==") for line in lines if "==" in line)

    low = {name.lower(): _numbers(version) for name, version in lowest_versions().items()}

    assert low == {name: min(version, _numbers(pinned[name])) for name, version in low.items()}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize("name", ["kernels", "jobs", "trial"])
def test_a_source_root_is_no_package(name: str) -> None:
    """A package called `kernels` exists on PyPI, and would be shadowed."""
    assert not (ROOT / name / "__init__.py").exists()


@pytest.mark.parametrize(
    ("package", "name"),
    [("wconv_studies", "quickstart.yaml"), ("wconv_slurm_templates", "local.yaml")],
)
@pytest.mark.slow
def test_data_files_are_found_in_the_installed_package(package: str, name: str) -> None:
    assert files(package).joinpath(name).read_text("utf-8").startswith("#")
