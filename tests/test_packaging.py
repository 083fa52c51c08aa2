"""What users install is what was written: packages, data files, and a wheel that runs a study."""

import re
import subprocess
import sys
import tomllib
import venv
from importlib.resources import files
from pathlib import Path

import pytest

from tests.pages import ROOT, follow
from wconv_kernels import load_density

README = (ROOT / "README.md").read_text("utf-8")


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
        for top in ("wconv_sweep", "jobs", "kernels", "studies", "slurm_templates")
        for path in (ROOT / top).rglob("__init__.py")
    }

    assert listed == there


@pytest.mark.parametrize("name", ["kernels", "jobs"])
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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the sources, and install it with its dependencies, both as users do."""
    folder = tmp_path_factory.mktemp("install into here")
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    wheels = folder / "wheels"
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, *pip, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)], check=True
    )
    (wheel,) = wheels.glob("wconv_sweep-*.whl")
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [str(python), *pip, "install", "-c", constraints, "torch", str(wheel)], check=True
    )
    return environment / "bin"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_can_be_followed_with_the_installed_wheel(
    installed: Path, tmp_path: Path
) -> None:
    printed = follow(ROOT / "docs" / "tutorial.md", tmp_path, installed)

    assert "quickstart: PSNR on the test part" in printed
    assert "15 trials complete, 0 failed" in printed
    assert "http://127.0.0.1:" in printed
    assert "mine: PSNR" in printed
    assert len(load_density(tmp_path / "densities.yaml", "quickstart")) == 1
    assert "</html>" in (tmp_path / "report.html").read_text("utf-8")
    (command,) = re.findall(r"^\.venv/bin/(wconv-sweep .*?)  +#", README, re.MULTILINE)
    program, *words = command.split()
    subprocess.run([installed / program, *words], cwd=tmp_path, check=True, capture_output=True)
    assert list((tmp_path / "pictures").rglob("density.png"))
    assert list((tmp_path / "networks").rglob("*.safetensors"))


@pytest.mark.slow
def test_the_installed_packages_bring_their_type_information(installed: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "for package in ('wconv_sweep', 'wconv_jobs', 'wconv_kernels'):\n"
        "    assert files(package).joinpath('py.typed').is_file(), package\n"
    )

    subprocess.run([str(installed / "python"), "-c", code], check=True)
